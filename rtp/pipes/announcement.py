"""``eventgraph pipes announce-sender`` and ``announce-member``: for programs of others.

A program that speaks SP or ZMTP, and knows no registry, is one end of a raw pipe. Its key
stands in the registry as long as the command runs.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eventgraph.background import open_background
from eventgraph.pipes import DestinationExistsError
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.options import check_name
from eventgraph.pipes.records import (
    MemberRecord,
    PipeRecord,
    encode_record,
    member_key,
    pipe_key,
    read_record,
    sender_key,
)
from eventgraph.pipes.registration import KeyTakenError, Registration
from eventgraph.pipes.url import dial_url
from rtp.interruption import Interruption
from rtp.pipes.listing import shown
from rtp.pipes.options import PipeCommandError, RegistryOptions
from rtp.standard_streams import StandardOutput, end_with_reader, note

SCHEMES: Final = frozenset({"tcp", "tls+tcp", "ws", "wss", "ipc"})
TTL: Final = 5.0  # seconds that the key outlives this process


@dataclass(frozen=True, kw_only=True)
class AnnounceSender:
    """The command, with what it was given."""

    registry: RegistryOptions
    name: str
    group: str
    url: str

    async def run(self, interruption: Interruption) -> int:
        """Until interrupted. Raises: PipeError, RtpError."""
        prefix = self.registry.checked_prefix
        name, group = check_name("destination", self.name), check_name("group", self.group)
        dial_url(self.url, SCHEMES)
        key = pipe_key(prefix, name, group)
        async with self.registry.open() as registry:
            with interruption.work():
                if await registry.read(sender_key(prefix, name)):
                    raise _taken(name)
                registration = Registration(
                    registry,
                    f"{prefix}/{name}/{group}/",
                    TTL,
                    lambda _: None,
                    lambda: note(f"announced {shown(name)}/{shown(group)}", verbose=False),
                )
                record = encode_record(PipeRecord(self.url, raw=True))
                registration.claim(key, record, wait=False)
                try:
                    await registration.run()
                except KeyTakenError:
                    raise _taken(name) from None
        return 0


@dataclass(frozen=True, kw_only=True)
class AnnounceMember:
    """The command, with what it was given."""

    registry: RegistryOptions
    name: str
    group: str

    async def run(self, interruption: Interruption) -> int:
        """Print where to dial, whenever that changes, until interrupted or nobody reads.

        Raises: PipeError, RtpError; the latter also if the pipe is not raw.
        """
        output = StandardOutput()
        prefix = self.registry.checked_prefix
        name, group = check_name("destination", self.name), check_name("group", self.group)
        async with self.registry.open() as registry:
            with interruption.work():
                where = _Where(pipe_key(prefix, name, group))
                registration = Registration(
                    registry, f"{prefix}/{name}/{group}/", TTL, where.look_at, lambda: None
                )
                record = MemberRecord(socket.gethostname(), os.getpid())
                registration.hold(
                    member_key(prefix, name, group, uuid.uuid4().hex), encode_record(record)
                )
                async with open_background() as nursery:
                    nursery.start_soon(end_with_reader, output, nursery.cancel_scope)
                    nursery.start_soon(registration.run)
                    await self._print(where, output)
        return 0

    async def _print(self, where: "_Where", output: StandardOutput) -> None:
        while True:
            record = await where.next()
            if not record.raw:
                raise PipeCommandError(
                    f"the pipe of {shown(self.name)}/{shown(self.group)} is not raw; "
                    "register the destination with raw=True, or `send --raw`"
                )
            try:
                await output.write(f"{shown(record.url)}\n".encode())
            except BrokenPipeError:
                return


class _Where:
    """Follows one pipe in the registry."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._alarm = Alarm()
        self._now: PipeRecord | None = None
        self._told: PipeRecord | None = None

    def look_at(self, entries: Mapping[str, bytes]) -> None:
        value = entries.get(self._key)
        self._now = read_record(value, PipeRecord) if value is not None else None
        self._alarm.set()

    async def next(self) -> PipeRecord:
        """The pipe that stands there, when it is another than the last time."""
        while self._now is None or self._now == self._told:
            await self._alarm.wait()
        self._told = self._now
        return self._now


def _taken(name: str) -> DestinationExistsError:
    return DestinationExistsError(
        f"the destination {name!r} has a sender; announce another name, or end that first"
    )
