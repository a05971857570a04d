"""Recording: a file of records, read up to its last whole one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from eventgraph.event import Address, Event
from eventgraph.replay.errors import RecordingError
from eventgraph.replay.objects import ObjectCodec
from eventgraph.replay.records import HEAD, MAGIC, MAX_BODY, AnyRecord, Record, RecordingEnd, Way

MAX_WAYS: Final = 4096
"""In one recording."""

_DECODER: Final[msgspec.msgpack.Decoder[AnyRecord]] = msgspec.msgpack.Decoder(AnyRecord)


class RecordedEvent(NamedTuple):
    """An event of a recording; `time` is in seconds since it began."""

    time: float
    sender: Address
    receiver: Address
    event: Event


class Recording:
    """What a file has.

    Attributes:
        end: its last record; None: it was cut off, as by a kill -9, or not yet read to the end.
    """

    def __init__(self, path: str | Path, objects: ObjectCodec) -> None:
        self.path = Path(path)
        self.end: RecordingEnd | None = None
        self._objects = objects

    def ways(self) -> list[tuple[Address, Address]]:
        """From whom to whom events went, by their first event; reads all of the file.

        Raises:
            RecordingError: as `__iter__`.
        """
        return [(r.sender, r.receiver) for r in self._records() if isinstance(r, Way)]

    def __iter__(self) -> Iterator[RecordedEvent]:
        """Its events, in order.

        Raises:
            RecordingError: it cannot be read, is no recording, or has records that are none.
        """
        ways: list[Way] = []
        for record in self._records():
            if isinstance(record, Way):
                ways.append(record)
                if len(ways) > MAX_WAYS:
                    raise RecordingError(f"{self.path} has more than {MAX_WAYS} ways")
            elif isinstance(record, Record):
                if record.way >= len(ways):
                    raise RecordingError(f"{self.path} is damaged: an event came by no way")
                way = ways[record.way]
                obj = self._objects.unpack(record.kind, record.obj)
                event = Event(record.cmd, obj, record.reply_to)
                yield RecordedEvent(record.time / 1e9, way.sender, way.receiver, event)

    def _records(self) -> Iterator[AnyRecord]:
        self.end = None
        try:
            with self.path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise RecordingError(f"{self.path} is no recording of events")
                while (body := _read_body(file)) is not None:
                    record = _DECODER.decode(body)
                    if isinstance(record, RecordingEnd):
                        self.end = record
                    yield record
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise RecordingError(f"{self.path} is damaged: {error}") from error


def _read_body(file: BinaryIO) -> bytes | None:
    """The next body; None: there is none that is whole."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, checksum = HEAD.unpack(head)
    if length > MAX_BODY:
        return None
    body = file.read(length)
    return body if len(body) == length and zlib.crc32(body) == checksum else None
