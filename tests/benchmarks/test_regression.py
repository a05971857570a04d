"""What counts as slower than in an older report."""

import msgspec
import pytest

from benchmarks.regression import changes, interval, slower_subjects
from benchmarks.result import Comparison, Machine, Report


def comparison(
    *ratios: float, name: str = "one hop", baseline: str = "asyncio.Queue"
) -> Comparison:
    return Comparison(
        name=name,
        unit="ns",
        subject=[100 * ratio for ratio in ratios],
        baseline_name=baseline,
        baseline=[100.0] * len(ratios),
    )


def report(*ratios: float, name: str = "one hop") -> Report:
    line = comparison(*ratios, name=name)
    return Report(machine=Machine.this(), quick=False, comparisons=[line])


STEADY = (0.29, 0.30, 0.30, 0.31, 0.30, 0.29, 0.30, 0.31, 0.30)


@pytest.mark.parametrize(("factor", "slower"), [(1.0, None), (1.5, True), (0.5, False)])
def test_a_change_past_the_interval_is_told(factor: float, slower: bool | None) -> None:
    (change,) = changes(report(*STEADY), report(*(ratio * factor for ratio in STEADY)))
    assert change.ratio == pytest.approx(factor)
    assert change.low <= change.ratio <= change.high
    assert change.slower is slower


def test_a_change_that_is_sure_but_small_is_none() -> None:
    (change,) = changes(report(*[0.300] * 9), report(*[0.306] * 9))
    assert change.low > 1
    assert change.slower is None


def test_what_differs_within_the_noise_is_no_change() -> None:
    then = report(0.2, 0.5, 0.3, 0.2, 0.4, 0.5, 0.2, 0.3, 0.4)
    now = report(0.4, 0.2, 0.5, 0.4, 0.3, 0.5, 0.2, 0.6, 0.4)
    (change,) = changes(then, now)
    assert change.ratio > 1.3
    assert change.slower is None


def test_slower_is_who_became_slower_against_all_baselines() -> None:
    def both(queue: float, channel: float, name: str) -> list[Comparison]:
        return [
            comparison(*(ratio * queue for ratio in STEADY), name=name),
            comparison(*(ratio * channel for ratio in STEADY), name=name, baseline="channel"),
        ]

    machine = Machine.this()
    lines = [both(1, 1, "chain") + both(1, 1, "mesh"), both(2, 1, "chain") + both(2, 3, "mesh")]
    then, now = (Report(machine=machine, quick=False, comparisons=found) for found in lines)
    assert slower_subjects(changes(then, now)) == ["mesh"]


def test_lines_of_only_one_report_are_not_compared() -> None:
    assert changes(report(0.3, name="gone"), report(0.3, name="new")) == []


def test_the_interval_is_the_same_each_time() -> None:
    then, now = list(STEADY), [0.4, 0.35, 0.3, 0.5]
    assert interval(then, now) == interval(then, now)


def test_a_report_survives_being_written_as_json() -> None:
    before = report(*STEADY)
    assert msgspec.json.decode(msgspec.json.encode(before), type=Report) == before
