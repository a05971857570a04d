"""What stands in the ring is found by timestamp."""

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.block_wire import INLINE
from eventgraph.flows.history import History
from eventgraph.flows.outlet import Record


def record(sequence: int, timestamp: int) -> Record:
    return Record(INLINE, -1, 0, sequence, timestamp, b"")


@given(
    timestamps=st.lists(st.integers(-50, 50), unique=True).map(sorted),
    gone=st.sets(st.integers(-50, 50)),
    first=st.integers(-60, 60),
    last=st.integers(-60, 60),
    limit=st.integers(0, 10),
    size=st.integers(0, 30),
)
def test_latest_blocks_of_a_range_come_in_order(
    *, timestamps: list[int], gone: set[int], first: int, last: int, limit: int, size: int
) -> None:
    history = History(size, lambda record: record.timestamp not in gone)
    for number, timestamp in enumerate(timestamps):
        history.add(record(number, timestamp))
    kept = timestamps[len(timestamps) - min(size, len(timestamps)) :]
    standing = [one for one in kept if one not in gone and first <= one <= last]
    wanted = standing[len(standing) - min(limit, len(standing)) :]
    assert [one.timestamp for one in history.between(first, last, limit)] == wanted
