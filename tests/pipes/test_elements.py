"""How many values there are in MessagePack, counted before they are made."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.pipes.elements import count_elements

encode = msgspec.msgpack.encode
ALL = 1 << 30
INTS = st.integers(-(2**63), 2**64 - 1)
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | INTS
    | st.floats(allow_nan=False)
    | st.datetimes(timezones=st.just(UTC))
)
LENGTHS = st.sampled_from([0, 1, 31, 32, 255, 256, 65535, 65536])
EXTENSIONS = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 17, 255, 256, 65536]).map(
    lambda length: msgspec.msgpack.Ext(5, b"\x80" * length)
)
LONG = LENGTHS.map(lambda length: "\x7f" * length) | LENGTHS.map(lambda length: b"\x80" * length)
VALUES = st.recursive(
    SCALARS | EXTENSIONS | LONG,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(INTS, inner, max_size=20),
    max_leaves=40,
)


def elements(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(elements, value))
    if isinstance(value, dict):
        return 1 + sum(map(elements, value)) + sum(map(elements, value.values()))
    return 1


@given(VALUES)
def test_all_values_of_all_depths_are_counted(value: Any) -> None:
    data, expected = encode(value), elements(value)
    assert count_elements(data, ALL) == count_elements(memoryview(data), expected) == expected


@pytest.mark.parametrize("count", [15, 16, 65535, 65536])
def test_long_arrays_and_maps_are_counted(count: int) -> None:
    assert count_elements(encode([None] * count), ALL) == 1 + count
    assert count_elements(encode(dict.fromkeys(range(count))), ALL) == 1 + 2 * count


@given(VALUES, st.integers(0, 5))
def test_count_stops_when_there_are_too_many(value: Any, most: int) -> None:
    assert count_elements(encode(value), most) == min(elements(value), most + 1)


@given(st.binary(max_size=300))
def test_any_bytes_have_no_more_elements_than_bytes(data: bytes) -> None:
    """By that, what is small need not be counted."""
    assert count_elements(data, ALL) <= len(data)


@given(VALUES, st.integers(0, 100))
def test_what_was_cut_off_has_no_more_than_the_whole(value: Any, cut: int) -> None:
    data = encode(value)
    assert count_elements(data[: len(data) - cut], ALL) <= elements(value)


def test_what_is_announced_and_does_not_come_is_not_counted() -> None:
    assert count_elements(b"\xdd\xff\xff\xff\xff\xc0", ALL) == 2
    assert count_elements(b"\x92\xdb\x7f\xff\xff\xff", ALL) == 2
    assert count_elements(b"\xda", ALL) == 1
    assert count_elements(b"", ALL) == 0


def test_dates_are_one_element() -> None:
    assert count_elements(encode(datetime(2026, 1, 2, 3, 4, 5, 6, UTC)), ALL) == 1
