"""``eventgraph pipes recv``: events of a group become lines of standard output."""

import contextlib
import math
from dataclasses import dataclass

import trio

from eventgraph.background import open_background
from eventgraph.pipes import Member, MemberState
from rtp.interruption import Interruption
from rtp.pipes.lines import LineFormat, line_writer
from rtp.pipes.listing import shown
from rtp.pipes.options import PipeCommandError, RegistryOptions, TransportOptions
from rtp.standard_streams import StandardOutput, end_with_reader, note


@dataclass(frozen=True, kw_only=True)
class Recv:
    """The command, with what it was given."""

    registry: RegistryOptions
    transport: TransportOptions
    name: str
    group: str
    form: LineFormat
    count: int | None  # events after which it ends
    idle: float | None  # seconds without an event after which it ends
    verbose: bool

    async def run(self, interruption: Interruption) -> int:
        """The exit status.

        Raises: PipeError, RtpError; the latter also if fewer than `count` came.
        """
        output = StandardOutput()
        member: Member | None = None
        silent = False
        async with self.transport.open(self.registry) as pipes:
            with interruption.work():
                member = await pipes.join(self.name, self.group)
                silent = await self._copy(member, output)
            if member is None:
                return 0  # interrupted before
            await member.leave()
        counts = member.statistics().counts
        again = f", {counts.redelivered:,} of them once more" if counts.redelivered else ""
        events = "event" if counts.taken == 1 else "events"
        summary = f"received {counts.taken:,} {events} of {shown(self.name)}{again}"
        if dropped := sum(counts.dropped.values()):
            summary += f"; dropped {dropped:,} messages that made no sense"
        note(summary, self.verbose)
        if silent and self.count is not None:
            raise PipeCommandError(
                f"{counts.taken:,} of {self.count:,} events came, then none for {self.idle:g} s"
            )
        return 0

    async def _copy(self, member: Member, output: StandardOutput) -> bool:
        """Until there were enough, nobody reads, or nothing came for too long: then True."""
        silent = False
        async with open_background() as nursery:
            nursery.start_soon(end_with_reader, output, nursery.cancel_scope)
            nursery.start_soon(self._tell_state, member)
            with contextlib.suppress(BrokenPipeError):
                silent = await self._write(member, output)
        return silent

    async def _write(self, member: Member, output: StandardOutput) -> bool:
        write_line = line_writer(self.form)
        left = math.inf if self.count is None else self.count
        while left:
            with trio.move_on_after(math.inf if self.idle is None else self.idle) as patience:
                delivery = await member.receive()
            if patience.cancelled_caught:
                return True
            count = min(left, len(delivery.events))
            events = delivery.events[: int(count)]
            delivery.handed = 0  # they are taken when they are written
            await output.write(b"".join([write_line(e, delivery.redelivered) for e in events]))
            delivery.handed = len(events)
            left -= count
        return False

    async def _tell_state(self, member: Member) -> None:
        where = f"the destination {shown(self.name)}"
        if member.state is MemberState.WAITING:
            note(f"waiting for {where}", self.verbose)
        await member.wait_connected()
        note(f"connected to {where}", self.verbose)
