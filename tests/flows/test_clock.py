"""The clock of flows does not go back, and that of another machine is estimated within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.clock import SAMPLES, Offset, OffsetEstimator, now

delays = st.integers(0, 10**9)


def test_clock_never_goes_back() -> None:
    times = [now() for _ in range(1000)]
    assert times == sorted(times)


def test_nothing_is_known_before_the_first_exchange() -> None:
    assert OffsetEstimator().offset is None


def test_symmetric_way_gives_the_exact_offset() -> None:
    estimator = OffsetEstimator()
    estimator.add(1000, 900 + 50, 900 + 60, 1000 + 110)  # theirs is 100 behind, 50 each way
    assert estimator.offset == Offset(100, 50)


@given(
    offset=st.integers(-(10**18), 10**18),
    exchanges=st.lists(st.tuples(delays, delays, delays), min_size=1, max_size=20),
)
def test_true_offset_is_within_the_uncertainty(
    offset: int, exchanges: list[tuple[int, int, int]]
) -> None:
    estimator = OffsetEstimator()
    time = 0
    for there, thinking, back in exchanges:
        received = time + there
        answered = received + thinking
        arrived = answered + back
        estimator.add(time, received - offset, answered - offset, arrived)
        time = arrived
    estimate = estimator.offset
    assert estimate is not None
    assert abs(estimate.nanoseconds - offset) <= estimate.uncertainty
    quickest = min(there + back for there, _, back in exchanges[-SAMPLES:])
    assert estimate.uncertainty == (quickest + 1) // 2
