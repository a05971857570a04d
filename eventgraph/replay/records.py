"""Records of a recording, and how they stand in a file. Pure.

    magic, 8 bytes
    +---------------------+---------------------+- - - - - - - - - -
    | length of the body  | CRC-32 of the body  | body: MessagePack
    +---------------------+---------------------+- - - - - - - - - -
    ...

Numbers are big-endian, 32 bits. Records are only ever appended, whole, so a file that ends early,
as after a kill -9, can be read up to its last whole one. A *way*, from whom to whom, is told once,
before its first event. `RecordingEnd` is the last record of a recording that was ended in order.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from eventgraph.event import Address
from eventgraph.replay.errors import UnrecordableError
from eventgraph.replay.objects import ObjectCodec
from eventgraph.tap import Passed

MAGIC: Final = b"EGRECv1\n"
HEAD: Final = struct.Struct(">II")
MAX_BODY: Final = 1 << 26
"""Bytes; a raw picture of 4096 x 2160 has 13 million."""

Count = Annotated[int, msgspec.Meta(ge=0)]


class Way(msgspec.Struct, frozen=True, array_like=True, tag="way"):
    """From whom to whom: the ways of a recording are numbered from 0."""

    sender: Address
    receiver: Address


class Record(msgspec.Struct, frozen=True, array_like=True, tag="event"):
    """An event.

    Attributes:
        way: its number.
        time: nanoseconds since the recording began.
        kind: of the object, see `ObjectCodec`.
    """

    way: Count
    time: Count
    cmd: int
    kind: str
    obj: msgspec.Raw
    reply_to: Address | None = None


class RecordingEnd(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """What is in the recording, and what is not.

    Attributes:
        events: recorded.
        dropped: passed, but came faster than they could be recorded.
        unrecordable: by type, of those that cannot be.
    """

    events: Count
    dropped: Count
    unrecordable: dict[str, int] = {}


AnyRecord = Way | Record | RecordingEnd

_encode: Final = msgspec.msgpack.Encoder().encode


class RecordEncoder:
    """Turns events that have passed into records, to be appended to a file.

    Args:
        began: the time at which the recording begins, on the clock of the taps, in seconds.
    Attributes:
        events: recorded so far.
        unrecordable: by type, of those that cannot be.
    """

    def __init__(self, objects: ObjectCodec, began: float) -> None:
        self._objects = objects
        self._began = began
        self._ways: dict[tuple[Address, Address], int] = {}
        self.events = 0
        self.unrecordable: Counter[str] = Counter()

    def encode(self, batch: Iterable[Passed]) -> bytes:
        """Their records; those that cannot be recorded are counted."""
        return b"".join([self._encode_one(passed) for passed in batch])

    def end(self, dropped: int) -> bytes:
        """The last record."""
        return frame(_encode(RecordingEnd(self.events, dropped, dict(self.unrecordable))))

    def _encode_one(self, passed: Passed) -> bytes:
        event = passed.event
        ends = passed.sender, passed.receiver
        new = ends not in self._ways
        way = len(self._ways) if new else self._ways[ends]
        time = max(0, round((passed.time - self._began) * 1e9))
        try:
            kind, obj = self._objects.pack(event.obj)
            record = Record(way, time, event.cmd, kind, msgspec.Raw(obj), event.reply_to)
            body = _encode(record)
        except (UnrecordableError, TypeError, ValueError, OverflowError):
            self.unrecordable[type(event.obj).__name__] += 1
            return b""
        if len(body) > MAX_BODY:
            self.unrecordable[f"{type(event.obj).__name__}, too large"] += 1
            return b""
        self.events += 1
        if not new:
            return frame(body)
        self._ways[ends] = way
        return frame(_encode(Way(*ends))) + frame(body)


def frame(body: bytes) -> bytes:
    """A record as it stands in a file."""
    return HEAD.pack(len(body), zlib.crc32(body)) + body
