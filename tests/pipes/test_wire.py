"""Messages and reports: what goes in comes out, and what is none of ours is refused."""

import contextlib
import struct
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Address, Event
from eventgraph.pipes.errors import EventFormatError, WireError
from eventgraph.pipes.wire import (
    HEADER,
    EventEncoder,
    MessageDecoder,
    Range,
    Reply,
    Report,
    decode_reply,
    decode_report,
    encode_control,
    encode_message,
)

encode = EventEncoder().encode
decode = MessageDecoder().decode

PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.builds(
    Event,
    st.integers(-(2**63), 2**63 - 1),
    PAYLOADS,
    st.none() | st.builds(Address, st.text(min_size=1), st.text(min_size=1)),
)


@given(st.lists(EVENTS, max_size=4), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_events_come_out_as_they_went_in(events: list[Event], epoch: int, sequence: int) -> None:
    message = decode(encode_message(epoch, sequence, [encode(event) for event in events]))
    assert message.events == events
    assert (message.epoch, message.sequence, message.redelivered) == (epoch, sequence, False)


def test_redelivery_is_marked() -> None:
    assert decode(encode_message(1, 2, [encode(Event(1))], redelivered=True)).redelivered


def test_more_than_65535_events_fit() -> None:
    assert len(decode(encode_message(1, 0, [encode(Event(1))] * 70_000)).events) == 70_000


def test_bytes_can_stay_in_the_message() -> None:
    message = memoryview(encode_message(1, 0, [encode(Event(1, b"payload"))]))
    event = MessageDecoder(memoryview).decode(message).events[0]
    assert isinstance(event.obj, memoryview)
    assert event.obj.obj is message.obj


class Level(msgspec.Struct):
    dbov: int
    at: datetime


def test_typed_payload_arrives_as_that_type() -> None:
    level = Level(-20, datetime(2026, 1, 2, tzinfo=UTC))
    message = encode_message(1, 0, [encode(Event(1, level))])
    event = MessageDecoder(Level).decode(message).events[0]
    assert isinstance(event, Event)
    assert event.obj == level


def test_event_that_cannot_be_read_is_left_out_and_the_others_are_not() -> None:
    good, bad = Level(-20, datetime(2026, 1, 2, tzinfo=UTC)), {"dbov": "loud"}
    encoded = [encode(Event(n, obj)) for n, obj in enumerate((good, bad, good, bad))]
    message = MessageDecoder(Level).decode(encode_message(1, 0, encoded))
    assert [event.cmd for event in message.events] == [0, 2]
    assert message.malformed == 2
    # What of the message is done with: nothing, up to the second good one, all.
    assert [message.count(handed) for handed in (0, 1, 2)] == [0, 2, 4]


def test_event_of_too_many_elements_is_not_read_nor_those_after_it() -> None:
    small, large = encode(Event(1, {"a": 1})), encode(Event(2, [{}] * 100))
    packed = encode_message(1, 0, [small, small, large, small])
    message = MessageDecoder(max_elements=50).decode(packed)
    assert [event.cmd for event in message.events] == [1, 1]
    assert (message.malformed, message.oversized) == (0, 2)
    # Those that were not read are done with when the last that was read is.
    assert [message.count(handed) for handed in (0, 1, 2)] == [0, 1, 4]


def test_elements_are_those_of_all_events_of_a_message() -> None:
    packed = encode_message(1, 0, [encode(Event(1, [{}] * 10))] * 10)
    assert len(MessageDecoder(max_elements=100).decode(packed).events) == 10
    message = MessageDecoder(max_elements=99).decode(packed)
    assert (len(message.events), message.oversized) == (9, 1)


def test_event_that_cannot_be_read_is_told_from_one_with_too_many_elements() -> None:
    bad, large = b"\xc0", encode(Event(2, [{}] * 100))
    message = MessageDecoder(max_elements=50).decode(encode_message(1, 0, [bad, large]))
    assert (message.events, message.malformed, message.oversized) == ([], 1, 1)
    assert message.count(0) == 2


def test_elements_of_events_themselves_do_not_count() -> None:
    packed = encode_message(1, 0, [encode(Event(1, 5))] * 1000)
    assert len(MessageDecoder(max_elements=1).decode(packed).events) == 1000


@pytest.mark.parametrize("payload_type", [bytes, memoryview, Any])
def test_bytes_are_one_element_however_many(payload_type: Any) -> None:
    packed = encode_message(1, 0, [encode(Event(1, b"\x80" * 100_000))])
    assert MessageDecoder(payload_type, max_elements=1).decode(packed).events[0].obj is not None


def test_typed_payload_of_too_many_elements_is_not_read_either() -> None:
    packed = encode_message(1, 0, [encode(Event(1, [{}] * 100))])
    message = MessageDecoder(list[dict[str, int]], max_elements=50).decode(packed)
    assert (message.events, message.oversized) == ([], 1)


def test_hooks_carry_what_messagepack_does_not_know() -> None:
    def flatten(value: Any) -> Any:
        assert isinstance(value, np.ndarray)
        return value.tobytes()

    def restore(_type: type, value: Any) -> Any:
        return np.frombuffer(value, np.int16)

    samples = np.arange(5, dtype=np.int16)
    encoded = EventEncoder(flatten).encode(Event(1, samples))
    event = MessageDecoder(np.ndarray, restore).decode(encode_message(1, 0, [encoded])).events[0]
    assert (event.obj == samples).all()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("payload", [object(), 2**70, {1j: 2}, nested(100_000)])
def test_event_that_cannot_travel_says_so(payload: Any) -> None:
    with pytest.raises(EventFormatError, match="event 7 cannot travel"):
        encode(Event(7, payload))


@given(st.binary(max_size=64))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(WireError):
        decode(b"x" + junk)
    for read in (decode_report, decode_reply):
        with pytest.raises(WireError):
            read(b"\xc1" + junk)


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 255))
def test_damaged_message_is_read_or_refused(tail: bytes, cut: int, value: int) -> None:
    message = bytearray(encode_message(1, 5, [encode(Event(1, b"abc")), encode(Event(2, "text"))]))
    message[cut % len(message)] = value
    for damaged in (bytes(message), bytes(message[:cut]), bytes(message) + tail):
        with contextlib.suppress(WireError):
            decode(damaged)


def test_huge_count_in_a_small_message_costs_nothing() -> None:
    header = HEADER.pack(b"eg", 1, 0, 1, 0)
    with pytest.raises(WireError):
        decode(header + struct.pack(">BI", 0xDD, 2**32 - 1))


def test_other_version_is_named() -> None:
    with pytest.raises(WireError, match="version 2; this side speaks 1"):
        decode(HEADER.pack(b"eg", 2, 0, 1, 0) + b"\x90")


def test_reports_and_replies_come_out_as_they_went_in() -> None:
    report = Report("group", "member", 7, [1, 2], [Range(0, 5)], leaving=True)
    assert decode_report(encode_control(report)) == report
    assert decode_reply(encode_control(Reply(True))) == Reply(True)
