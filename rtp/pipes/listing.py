"""What stands in the registry of pipes, for people and for programs. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec
from rich.cells import cell_len

from eventgraph.pipes import DestinationEntry, GroupEntry
from eventgraph.pipes.records import MemberRecord, PipeRecord, SenderRecord

Record = SenderRecord | PipeRecord | MemberRecord

SIGNS: Final = {"come": "+", "go": "-", "replace": "~"}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record that came, went, or stands for another; ``go`` has the last one."""

    change: Literal["come", "go", "replace"]
    what: Literal["sender", "pipe", "member"]
    record: Record
    destination: str
    group: str | None = None
    member: str | None = None

    def __str__(self) -> str:
        where = self.destination if self.group is None else f"{self.destination}/{self.group}"
        return f"{SIGNS[self.change]} {shown(where)}  {self.what} {describe(self.record)}"


def to_json(destinations: Mapping[str, DestinationEntry]) -> str:
    """All of it, as an object; ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(destinations), indent=2).decode() + "\n"


def to_text(destinations: Mapping[str, DestinationEntry], place: str) -> str:
    """All of it, each destination with its groups and their members; `place` is the registry."""
    if not destinations:
        return f"no destination, and no group that waits for one, in {shown(place)}\n"
    groups = [group for entry in destinations.values() for group in entry.groups.values()]
    lines = [
        f"{_count(len(destinations), 'destination')}, {_count(len(groups), 'group')}, "
        f"{_count(sum(len(group.members) for group in groups), 'member')} in {shown(place)}"
    ]
    for name, entry in destinations.items():
        width = max(
            [cell_len(shown(name)), *(cell_len(shown(group)) + 2 for group in entry.groups)]
        )
        lines += ["", f"{_padded(shown(name), width)}  {_sender(entry)}"]
        for group_name, group in entry.groups.items():
            lines.append(f"  {_padded(shown(group_name), width - 2)}  {_pipe(group)}")
            members = sorted(describe(member) for member in group.members.values())
            lines += [f"  {'':{width - 2}}  - {member}" for member in members]
    return "\n".join(lines) + "\n"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _sender(entry: DestinationEntry) -> str:
    if entry.sender is not None:
        return describe(entry.sender)
    if any(group.pipe is not None for group in entry.groups.values()):
        return "(a foreign sender)"
    return "(no sender yet)"


def _pipe(group: GroupEntry) -> str:
    return "(no pipe)" if group.pipe is None else describe(group.pipe)


def describe(record: Record) -> str:
    """Who or where that is."""
    match record:
        case SenderRecord(host=host, pid=pid, reliability=reliability):
            return f"{shown(host)}, pid {pid}, {shown(reliability.replace('_', ' '))}"
        case PipeRecord(url=url, raw=raw):
            return f"{shown(url)}, raw" if raw else shown(url)
        case MemberRecord(host=host, pid=pid):
            return f"{shown(host)}, pid {pid}"


def shown(text: str) -> str:
    """As it can be printed: others write in the registry, and a terminal obeys some characters."""
    return text if text.isprintable() else repr(text)[1:-1]


def changes(
    before: Mapping[str, DestinationEntry], after: Mapping[str, DestinationEntry]
) -> list[Change]:
    """What has become of what stood there: first what went, from the inside out."""
    old, new = dict(_records(before)), dict(_records(after))
    gone = [_change("go", key, old[key]) for key in reversed(old) if key not in new]
    come = [_change("come", key, record) for key, record in new.items() if key not in old]
    both = [key for key in new if key in old and old[key] != new[key]]
    return gone + come + [_change("replace", key, new[key]) for key in both]


Key = tuple[Literal["sender", "pipe", "member"], str, str | None, str | None]


def _records(destinations: Mapping[str, DestinationEntry]) -> Iterator[tuple[Key, Record]]:
    for name, entry in destinations.items():
        if entry.sender is not None:
            yield ("sender", name, None, None), entry.sender
        for group_name, group in entry.groups.items():
            if group.pipe is not None:
                yield ("pipe", name, group_name, None), group.pipe
            for id_, member in group.members.items():
                yield ("member", name, group_name, id_), member


def _change(change: Literal["come", "go", "replace"], key: Key, record: Record) -> Change:
    what, destination, group, member = key
    return Change(change, what, record, destination, group, member)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
