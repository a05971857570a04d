"""How long is waited before a camera is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from tests.cctv_support.parts import backoff


def test_waits_double_up_to_the_limit_and_begin_anew() -> None:
    waits = backoff.Backoff(0.5, 3.0, random=lambda: 1.0)
    assert [waits.wait() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    waits.reset()
    assert waits.wait() == 0.5


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 50))
def test_wait_is_in_the_upper_half_and_bounded(drawn: float, times: int) -> None:
    waits = backoff.Backoff(0.5, 30.0, random=lambda: drawn)
    for i in range(times):
        full = min(0.5 * 2**i, 30.0)
        assert full / 2 <= waits.wait() <= full
