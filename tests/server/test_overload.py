"""When new sessions are shed: a pure decision, and a server that is really loaded."""

import pytest

from rtp.server.config import LimitsConfig
from rtp.server.load import Sample
from rtp.server.overload import BAD_SAMPLES, Overload

LIMITS = LimitsConfig(lag=0.2, cpu=0.9, calm=5.0)
GOOD = Sample(0.01, 0.1)
LATE = Sample(0.3, 0.1)
BUSY = Sample(0.01, 0.95)
BETWEEN = Sample(0.15, 0.1)
"""Below the limit, and not clearly."""


def fed(*samples: Sample, limits: LimitsConfig = LIMITS) -> Overload:
    """A sample each half second."""
    overload = Overload(limits)
    for number, sample in enumerate(samples):
        overload.update(sample, number / 2)
    return overload


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(LATE, "its loop is late by 300 ms"), (BUSY, "it keeps 0.95 processors busy")],
)
def test_several_bad_samples_in_a_row_are_overload(bad: Sample, reason: str) -> None:
    overload = fed(*[bad] * BAD_SAMPLES)
    assert overload.reason == reason
    assert overload.times == 1


def test_a_hiccup_is_no_overload() -> None:
    hiccups = [LATE] * (BAD_SAMPLES - 1) + [GOOD]
    assert fed(*hiccups * 10).times == 0


def test_it_is_over_after_a_calm_time_and_not_before() -> None:
    overload = fed(*[LATE] * BAD_SAMPLES, *[GOOD] * 10)
    assert overload.reason
    overload.update(GOOD, (BAD_SAMPLES + 10) / 2)
    assert overload.reason == ""


def test_just_below_the_limit_is_not_calm() -> None:
    overload = fed(*[LATE] * BAD_SAMPLES, *[BETWEEN] * 100)
    assert overload.reason
    assert overload.times == 1


def test_calm_begins_anew_after_each_bad_moment() -> None:
    assert fed(*[LATE] * BAD_SAMPLES, *([GOOD] * 9 + [BETWEEN]) * 10).reason


def test_no_limit_means_none() -> None:
    unlimited = LimitsConfig(lag=0, cpu=0)
    assert fed(*[Sample(10, 10)] * 10, limits=unlimited).times == 0
