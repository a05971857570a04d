"""When a crashed client is started again."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.respawn import MAX_BACKOFF, Respawn

LAUNCH = Launch(("program",), "somebody", respawns=3, period=60.0, backoff=0.5)


def test_pause_is_doubled_with_each_crash_within_the_period() -> None:
    respawn = Respawn(LAUNCH)
    assert [respawn.crashed(now) for now in (0.0, 1.0, 3.0)] == [0.5, 1.0, 2.0]


def test_one_crash_too_many_within_the_period_is_the_last() -> None:
    respawn = Respawn(LAUNCH)
    for now in (0.0, 1.0, 3.0):
        assert respawn.crashed(now) is not None
    assert respawn.crashed(10.0) is None
    assert respawn.restarts == 3


def test_restarts_that_are_longer_ago_than_the_period_do_not_count() -> None:
    respawn = Respawn(LAUNCH)
    pauses = [respawn.crashed(100.0 * n) for n in range(20)]
    assert pauses == [0.5] * 20
    assert respawn.restarts == 20


def test_the_period_begins_when_the_client_is_started_not_when_it_crashed() -> None:
    respawn = Respawn(msgspec.structs.replace(LAUNCH, respawns=1, backoff=5.0))
    assert respawn.crashed(0.0) == 5.0
    assert respawn.crashed(64.9) is None
    assert respawn.crashed(65.0) == 5.0


def test_no_respawns_means_none() -> None:
    assert Respawn(msgspec.structs.replace(LAUNCH, respawns=0)).crashed(0.0) is None


@pytest.mark.parametrize(
    "limits",
    [
        {"respawns": -1},
        {"respawns": 10**6},
        {"period": 0.0},
        {"period": math.nan},
        {"period": math.inf},
        {"backoff": -1.0},
        {"backoff": math.nan},
        {"backoff": 1e9},
    ],
)
def test_limit_out_of_bounds_is_refused_by_name(limits: dict[str, float]) -> None:
    with pytest.raises(FlowOptionError, match=f"somebody: {next(iter(limits))} is"):
        Respawn(msgspec.structs.replace(LAUNCH, **limits))


@given(
    respawns=st.integers(0, 1000),
    period=st.floats(1, 3600),
    backoff=st.floats(0, 10),
    lives=st.lists(st.floats(0, 100), max_size=300),
)
def test_never_more_starts_in_any_period_than_allowed(
    respawns: int, period: float, backoff: float, lives: list[float]
) -> None:
    launch = msgspec.structs.replace(LAUNCH, respawns=respawns, period=period, backoff=backoff)
    respawn, now, starts = Respawn(launch), 0.0, list[float]()
    for life in lives:
        now += life
        pause = respawn.crashed(now)
        if pause is None:
            break
        assert 0 <= pause <= MAX_BACKOFF
        now += pause
        starts.append(now)
    for i, first in enumerate(starts):
        assert sum(1 for start in starts[i:] if start < first + period) <= respawns
