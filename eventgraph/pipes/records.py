"""What stands in the registry: keys and their values. Pure.

::

    PREFIX/NAME/sender                 SenderRecord: who has the destination
    PREFIX/NAME/GROUP/pipe             PipeRecord: where the push socket of a group listens
    PREFIX/NAME/GROUP/members/ID       MemberRecord: who is in the group

The values are JSON. What cannot be read is as if it were not there: others write there too.
"""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from eventgraph.pipes.options import Reliability

DEFAULT_PREFIX = "/streams/destinations"


class SenderRecord(msgspec.Struct, frozen=True):
    """The one sender of a destination."""

    id: str  # drawn anew each time
    host: str
    pid: int
    reliability: Reliability


class PipeRecord(msgspec.Struct, frozen=True):
    """The push socket of one group. By hand, for a foreign sender: ``{"url": …, "raw": true}``."""

    url: str
    epoch: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    raw: bool = False
    control: str | None = None  # where members report; nowhere in raw mode
    reliability: Reliability = Reliability.AT_MOST_ONCE


class MemberRecord(msgspec.Struct, frozen=True):
    """One member of a group."""

    host: str
    pid: int


class GroupEntry(msgspec.Struct):
    """What the registry has of one group."""

    pipe: PipeRecord | None = None
    members: dict[str, MemberRecord] = {}


class DestinationEntry(msgspec.Struct):
    """What the registry has of one destination."""

    sender: SenderRecord | None = None
    groups: dict[str, GroupEntry] = {}


R = TypeVar("R", SenderRecord, PipeRecord, MemberRecord)


def encode_record(record: SenderRecord | PipeRecord | MemberRecord) -> bytes:
    """As it stands in the registry."""
    return msgspec.json.encode(record)


def read_record(value: bytes, type_: type[R]) -> R | None:
    """What a value says; None if it makes no sense."""
    try:
        return msgspec.json.decode(value, type=type_)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def sender_key(prefix: str, destination: str) -> str:
    """Who has the destination."""
    return f"{prefix}/{destination}/sender"


def pipe_key(prefix: str, destination: str, group: str) -> str:
    """Where to dial."""
    return f"{prefix}/{destination}/{group}/pipe"


def member_key(prefix: str, destination: str, group: str, member: str) -> str:
    """One member of a group."""
    return f"{prefix}/{destination}/{group}/members/{member}"


def read_entries(prefix: str, entries: Mapping[str, bytes]) -> dict[str, DestinationEntry]:
    """All destinations below a prefix, by name, as far as they make sense."""
    destinations: dict[str, DestinationEntry] = {}
    for key in sorted(entries):
        if not key.startswith(prefix + "/"):
            continue
        value = entries[key]
        match key[len(prefix) + 1 :].split("/"):
            case [name, "sender"] if sender := read_record(value, SenderRecord):
                destinations.setdefault(name, DestinationEntry()).sender = sender
            case [name, group, "pipe"] if pipe := read_record(value, PipeRecord):
                _group(destinations, name, group).pipe = pipe
            case [name, group, "members", id_] if member := read_record(value, MemberRecord):
                _group(destinations, name, group).members[id_] = member
            case _:
                pass
    return destinations


def _group(destinations: dict[str, DestinationEntry], name: str, group: str) -> GroupEntry:
    return destinations.setdefault(name, DestinationEntry()).groups.setdefault(group, GroupEntry())
