"""What travels: messages of events, and the reports that answer them. Pure.

A message on a pipe::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+---------------+---------------+
    |          magic, "eg"          | version (1)   |     flags     |
    +-------------------------------+---------------+---------------+
    |            epoch: drawn anew for each pipe that opens         |
    +---------------------------------------------------------------+
    |          sequence number of the first event, 64 bits          |
    |                                                               |
    +---------------------------------------------------------------+
    |   MessagePack: an array of events {cmd, obj, reply_to} ...

In place of an event that is followed (`eventgraph.telemetry`) stands [event, [parent, sent]].
A message without events is a sign of life. In ``raw`` mode there is none of this: the bytes of
an event's ``obj`` are the message, as any SP or ZMTP program sends it.
"""

import math
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Optional

import msgspec

from eventgraph.event import Address, Event, FollowedEvent, TraceContext
from eventgraph.pipes.elements import count_allowed
from eventgraph.pipes.errors import EventFormatError, WireError
from eventgraph.pipes.options import MAX_ELEMENTS, MAX_EVENTS, MAX_NAME

MAGIC = b"eg"
VERSION = 1
REDELIVERED = 0x01  # flag: somebody may have had these events before
HEADER = struct.Struct(">2sBBIQ")
_ARRAY16, _ARRAY32 = struct.Struct(">BH"), struct.Struct(">BI")  # MessagePack, by length

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_PARTS = msgspec.msgpack.Decoder(list[msgspec.Raw])
_SINGLE = (bool, int, float, str, bytes, bytearray, memoryview)
"""Payload types that cannot contain others: what does not fit is refused before it is made."""

Hook = Callable[[Any], Any]


class EventEncoder:
    """Turns one event into bytes, once for all groups.

    Args:
        hook: turns what MessagePack does not know into what it does, as msgspec's ``enc_hook``.
    """

    def __init__(self, hook: Hook | None = None) -> None:
        self._encode = msgspec.msgpack.Encoder(enc_hook=hook).encode

    def encode(self, event: Event) -> bytes:
        """The event as a MessagePack map.

        Raises:
            EventFormatError: it holds what cannot be encoded.
        """
        if not isinstance(event, Event) or type(event.cmd) is not int:
            raise EventFormatError(f"{event!r} cannot travel: give an Event whose cmd is an int")
        try:
            if isinstance(event, FollowedEvent):
                return self._encode((event.plain, event.trace))
            return self._encode(event)
        except Exception as error:  # the hook is not ours
            raise EventFormatError(f"event {event.cmd} cannot travel: {error!r}") from error


class Message(msgspec.Struct, frozen=True):
    """A message that has arrived."""

    epoch: int
    sequence: int  # of the first event
    redelivered: bool
    events: list[Event]
    places: list[int] | None = None  # of the events in the message, if some could not be read
    malformed: int = 0  # events that could not be read
    oversized: int = 0  # events that were not read, for they have too many elements

    def count(self, handed: int) -> int:
        """How many events of the message are done with when so many of ``events`` are."""
        if self.places is None:
            return handed
        if handed == len(self.events):
            return handed + self.malformed + self.oversized
        return self.places[handed]


class MessageDecoder:
    """Turns messages into events.

    Args:
        payload_type: what ``obj`` is to be, checked: any type that msgspec knows. With
            ``memoryview`` the bytes are not copied out of the message.
        hook: as msgspec's ``dec_hook``: ``(type, value) -> value of that type``.
        max_elements: values that all ``obj`` of a message may be made of, keys of dicts among
            them. The event by which there are more is not read, nor are those after it. Not
            counted for a type that is a single value, such as bytes.
    """

    def __init__(
        self,
        payload_type: Any = Any,
        hook: Callable[[type, Any], Any] | None = None,
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        event_type: Any = Event
        if payload_type is not Any:
            event_type = msgspec.defstruct(
                "Event",
                [
                    ("cmd", int),
                    ("obj", Optional[payload_type], None),  # noqa: UP045  (None | None fails)
                    ("reply_to", Address | None, None),
                ],
                bases=(Event,),
                frozen=True,
            )
        self._decode = msgspec.msgpack.Decoder(list[event_type], dec_hook=hook).decode
        one_type = event_type | tuple[event_type, TraceContext]
        self._decode_one = msgspec.msgpack.Decoder(one_type, dec_hook=hook).decode
        self._max_elements = max_elements
        self._harmless = math.inf if payload_type in _SINGLE else max_elements  # bytes

    def decode(self, message: bytes | memoryview) -> Message:
        """Read a message; events in it that are not as they should be are counted, and left out.

        Raises:
            WireError: it is none, or of another version.
        """
        if len(message) < HEADER.size:
            raise WireError(f"{len(message)} bytes are too few for a message")
        magic, version, flags, epoch, sequence = HEADER.unpack_from(message)
        if magic != MAGIC:
            raise WireError("not a message of eventgraph; is the other side in raw mode?")
        if version != VERSION:
            raise WireError(f"message of version {version}; this side speaks {VERSION}")
        redelivered = bool(flags & REDELIVERED)
        body = message[HEADER.size :]
        if _count(body) > MAX_EVENTS:
            raise WireError(f"{_count(body)} events in a message; {MAX_EVENTS} are allowed")
        if len(body) > self._harmless:
            parts = _split(body)
            allowed = count_allowed(parts, self._max_elements)
            if allowed < len(parts):
                oversized = len(parts) - allowed
                read = self._decode_each(parts[:allowed])
                return Message(epoch, sequence, redelivered, *read, oversized)
        try:
            return Message(epoch, sequence, redelivered, self._decode(body))
        except Exception:  # the hook is not ours, nor are types that check themselves
            return Message(epoch, sequence, redelivered, *self._decode_each(_split(body)))

    def _decode_each(self, parts: list[msgspec.Raw]) -> tuple[list[Event], list[int], int]:
        """For messages in which some cannot be read, or are followed."""
        events: list[Event] = []
        places: list[int] = []
        for place, part in enumerate(parts):
            with suppress(Exception):
                events.append(_followed(self._decode_one(part)))
                places.append(place)
        return events, places, len(parts) - len(events)


def _followed(found: Event | tuple[Event, TraceContext]) -> Event:
    if isinstance(found, Event):
        return found
    event, trace = found
    return FollowedEvent(event.cmd, event.obj, event.reply_to, trace=trace)


def _split(body: bytes | memoryview) -> list[msgspec.Raw]:
    try:
        return _PARTS.decode(body)
    except UNREADABLE as error:
        raise WireError(f"events that cannot be read: {error}") from error


def _count(body: bytes | memoryview) -> int:
    """Events that a body says it has, whether or not they come; 0: it is no array."""
    match bytes(body[:1]):
        case b"\xdc":
            return int.from_bytes(body[1:3], "big")
        case b"\xdd":
            return int.from_bytes(body[1:5], "big")
        case _:
            return 0  # or up to 15


def encode_message(
    epoch: int, sequence: int, events: Sequence[bytes], *, redelivered: bool = False
) -> bytes:
    """A message of events that `EventEncoder` has encoded; no more than `MAX_EVENTS` of them."""
    count = len(events)
    header = HEADER.pack(MAGIC, VERSION, REDELIVERED if redelivered else 0, epoch, sequence)
    length = _ARRAY16.pack(0xDC, count) if count <= 0xFFFF else _ARRAY32.pack(0xDD, count)
    return b"".join((header, length, *events))


Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Events that travelled in one message, or the first ones of it."""

    sequence: Count  # of the first event of the message
    count: Count


class Report(msgspec.Struct, frozen=True, tag_field="kind", tag="report"):
    """What a member says of what it got; also its sign of life."""

    group: Name
    member: Name
    epoch: Count
    held: list[Count] = []  # messages that have arrived since the last report, by sequence number
    taken: list[Range] = []  # handled; a message is named once, with all or some of its events
    leaving: bool = False  # what it holds and has not taken, it never will
    number: int = 0  # counted by the member; one that comes twice has the same. 0: not counted


class Reply(msgspec.Struct, frozen=True, tag_field="kind", tag="reply"):
    """What the sender answers."""

    known: bool  # False: no such pipe, group or member here


_REPORTS = msgspec.msgpack.Decoder(Report)
_REPLIES = msgspec.msgpack.Decoder(Reply)
encode_control = msgspec.msgpack.Encoder().encode


def decode_report(data: bytes) -> Report:
    """Read a report.

    Raises:
        WireError: it is none.
    """
    try:
        return _REPORTS.decode(data)
    except UNREADABLE as error:
        raise WireError(f"not a report: {error}") from error


def decode_reply(data: bytes) -> Reply:
    """Read a reply.

    Raises:
        WireError: it is none.
    """
    try:
        return _REPLIES.decode(data)
    except UNREADABLE as error:
        raise WireError(f"not a reply: {error}") from error
