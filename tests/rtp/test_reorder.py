"""ReorderBuffer: packets come out in sequence, after a bounded time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.reorder import ReorderBuffer

from .numbered import packet


@given(st.permutations(range(12)), st.integers(0, 65535))
def test_reordered_packets_come_out_in_order(order: list[int], first: int) -> None:
    buffer = ReorderBuffer(max_wait=100.0, max_packets=100)
    buffer.put(packet(first), 0.0)
    out = []
    for i in order:
        out += buffer.put(packet(first + 1 + i), 1.0)
    assert [each.sequence_number for _, each in out] == [(first + 1 + i) % 2**16 for i in range(12)]
    assert len(buffer) == buffer.lost == 0


@pytest.mark.parametrize(("max_wait", "max_packets"), [(0.05, 100), (100.0, 4)])
def test_lost_packet_is_not_waited_for_longer_than_allowed(
    max_wait: float, max_packets: int
) -> None:
    buffer = ReorderBuffer(max_wait=max_wait, max_packets=max_packets)
    out = buffer.put(packet(0), 0.0)
    for i in range(2, 10):
        out += buffer.put(packet(i), i * 0.01)
        assert len(buffer) <= max_packets
    assert [each.sequence_number for _, each in out] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert buffer.lost == 1
    assert buffer.put(packet(1), 0.2) == []
    assert buffer.drops == {"late": 1}


def test_one_stray_packet_does_not_move_the_window_and_two_in_sequence_do() -> None:
    buffer = ReorderBuffer(max_wait=1.0, max_packets=10)
    numbers = [0, 30_000, 1, 40_000, 40_001]
    out = [each for i, n in enumerate(numbers) for _, each in buffer.put(packet(n), i * 0.01)]
    assert [each.sequence_number for each in out] == [0, 1, 40_001]
    assert buffer.drops == {"sequence jump": 2}
