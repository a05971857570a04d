"""When restarts come, and when they are spent: decisions without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.restart import RestartHistory, RestartPolicy

STEADY = RestartPolicy(max_restarts=4, period=10, backoff=0.1, max_backoff=0.5, jitter=0)


def test_each_restart_waits_twice_as_long_up_to_a_limit() -> None:
    history = RestartHistory()
    delays = [history.next_delay(STEADY, now) for now in (0, 1, 2, 3)]
    assert delays == [0.1, 0.2, 0.4, 0.5]


def test_more_crashes_than_allowed_within_the_period_are_given_up() -> None:
    history = RestartHistory()
    for now in (0, 1, 2, 3):
        history.next_delay(STEADY, now)
    assert history.next_delay(STEADY, 9.99) is None


def test_a_quiet_period_starts_the_count_and_the_waiting_anew() -> None:
    history = RestartHistory()
    for now in (0, 1, 2, 3):
        history.next_delay(STEADY, now)
    assert history.next_delay(STEADY, 13) == 0.1


def test_zero_restarts_are_none() -> None:
    assert RestartHistory().next_delay(RestartPolicy(max_restarts=0), 0) is None


@given(
    st.lists(st.floats(0, 20), max_size=60),
    st.integers(0, 8),
    st.floats(0.1, 10),
)
def test_no_period_ever_holds_more_restarts_than_allowed(
    gaps: list[float], limit: int, period: float
) -> None:
    policy = RestartPolicy(max_restarts=limit, period=period)
    history, now, granted = RestartHistory(), 0.0, []
    for gap in gaps:
        now += gap
        delay = history.next_delay(policy, now)
        if delay is not None:
            assert 0 <= delay <= policy.max_backoff * (1 + policy.jitter)
            granted.append(now)
    for start in granted:
        assert sum(start <= other < start + period for other in granted) <= limit


def test_those_that_crash_together_do_not_all_come_back_together() -> None:
    delays = {RestartHistory().next_delay(RestartPolicy(jitter=0.5), 0) for _ in range(50)}
    assert len(delays) > 40
    assert all(delay is not None and 0.005 <= delay <= 0.015 for delay in delays)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_restarts": -1},
        {"max_restarts": 1001},
        {"period": 0},
        {"backoff": 2.0, "max_backoff": 1.0},
        {"backoff": -1.0},
        {"jitter": 1.5},
        {"period": float("nan")},
    ],
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RestartPolicy(**wrong)  # type: ignore[arg-type]
