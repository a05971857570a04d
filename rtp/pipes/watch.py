"""``eventgraph pipes ls`` and ``watch``: what stands in the registry, and how it changes."""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from eventgraph.background import open_background
from eventgraph.pipes import DestinationEntry, Registry
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.options import check_name
from eventgraph.pipes.records import read_entries
from rtp.interruption import Interruption
from rtp.pipes.listing import Change, changes, shown, to_json, to_text
from rtp.pipes.options import PipeCommandError, RegistryOptions
from rtp.standard_streams import StandardOutput, end_with_reader, note


@dataclass(frozen=True, kw_only=True)
class Ls:
    """The command `ls`, with what it was given."""

    registry: RegistryOptions
    name: str | None
    json: bool

    async def run(self, interruption: Interruption) -> int:
        """Raises: PipeError, RtpError."""
        output = StandardOutput()
        prefix = self.registry.checked_prefix
        async with self.registry.open() as registry:
            entries = await registry.read(_below(prefix, self.name))
            place = registry.url
        found = read_entries(prefix, entries)
        if self.name is not None and not found:
            raise PipeCommandError(
                f"no destination {shown(self.name)}, and no group that waits for it, in {place}"
            )
        await output.write((to_json(found) if self.json else to_text(found, place)).encode())
        return 0


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The command `watch`, with what it was given."""

    registry: RegistryOptions
    name: str | None
    json: bool

    async def run(self, interruption: Interruption) -> int:
        """Until interrupted, or nobody reads. Raises: PipeError, RtpError."""
        output = StandardOutput()
        async with self.registry.open() as registry:
            with interruption.work():
                note(f"watching {registry.url}; Ctrl-C ends it", verbose=False)
                async with open_background() as nursery:
                    nursery.start_soon(end_with_reader, output, nursery.cancel_scope)
                    with contextlib.suppress(BrokenPipeError):
                        await self._follow(registry, output)
        return 0

    async def _follow(self, registry: Registry, output: StandardOutput) -> None:
        prefix = self.registry.checked_prefix
        alarm = Alarm()
        async with registry.watch(_below(prefix, self.name), alarm.set) as view:
            before: dict[str, DestinationEntry] = {}
            live = True
            while True:
                lines: list[bytes] = []
                if view.live is not live:
                    live = view.live
                    lines.append(self._line(RegistryState("back" if live else "away")))
                after = read_entries(prefix, view.entries)
                lines += [self._line(change) for change in changes(before, after)]
                before = after
                if lines:
                    await output.write(b"".join(lines))
                await alarm.wait()

    def _line(self, what: "Change | RegistryState") -> bytes:
        now = datetime.now().astimezone()
        if self.json:
            stamped = {"time": now.isoformat(), **msgspec.to_builtins(what)}
            return msgspec.json.encode(stamped) + b"\n"
        return f"{now:%H:%M:%S} {what}\n".encode()


class RegistryState(msgspec.Struct, frozen=True):
    """The registry has gone, or has come back."""

    registry: Literal["away", "back"]

    def __str__(self) -> str:
        if self.registry == "back":
            return "! the registry is back"
        return "! the registry is away; pipes that stand go on"


def _below(prefix: str, name: str | None) -> str:
    return f"{prefix}/" if name is None else f"{prefix}/{check_name('destination', name)}/"
