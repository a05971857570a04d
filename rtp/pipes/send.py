"""``eventgraph pipes send``: lines of standard input become events of a destination."""

import contextlib
import math
import sys
from collections import Counter
from dataclasses import dataclass

import trio

from eventgraph.background import open_background
from eventgraph.event import Event
from eventgraph.pipes import (
    Destination,
    DestinationOptions,
    DestinationStatistics,
    EventFormatError,
    EventTooLargeError,
    PipeError,
)
from rtp.interruption import Interruption
from rtp.pipes.lines import LineError, LineFormat, LineSplitter, line_reader
from rtp.pipes.listing import shown
from rtp.pipes.options import BindingOptions, PipeCommandError, RegistryOptions, TransportOptions
from rtp.standard_streams import StandardInput, note

FAREWELL = 2.0
"""Seconds after a signal within which members may take what was sent before it."""


@dataclass(frozen=True, kw_only=True)
class Send:
    """The command, with what it was given."""

    registry: RegistryOptions
    transport: TransportOptions
    binding: BindingOptions
    name: str
    options: DestinationOptions
    form: LineFormat
    standby: bool
    wait: list[tuple[str, int]]  # groups, each with how many members to wait for
    unheard: bool  # whether events are sent while there is no group
    verbose: bool

    async def run(self, interruption: Interruption) -> int:
        """The exit status: 1 if a group has not got all that was sent to it.

        Raises: PipeError, RtpError.
        """
        feed = _Feed(self, StandardInput())
        destination: Destination | None = None
        binding = self.binding.binding
        async with self.transport.open(self.registry, binding) as pipes:
            with interruption.work():
                if self.standby:
                    note(f"taking over {shown(self.name)} as soon as nobody has it", self.verbose)
                destination = await pipes.register(self.name, self.options, standby=self.standby)
                await feed.run(destination)
            if destination is None:
                return 0  # interrupted before
            with trio.move_on_after(FAREWELL if interruption.signal else math.inf):
                await destination.unregister()
        statistics = destination.statistics()
        print(feed.summary(statistics), file=sys.stderr)
        if feed.problem:
            raise PipeCommandError(feed.problem)
        if destination.error is not None:
            raise destination.error
        return 1 if any(_missed(statistics).values()) else 0


class _Feed:
    """From standard input into a destination."""

    def __init__(self, command: Send, source: StandardInput) -> None:
        self.problem = ""  # with a line; it ends the input
        self._command = command
        self._source = source
        self._read_line = line_reader(command.form)
        self._line = self._sent = self._unheard = 0

    async def run(self, destination: Destination) -> None:
        """Until all has been read and received, or the destination is over."""
        async with open_background() as nursery:
            nursery.start_soon(_end_with, destination, nursery.cancel_scope)
            for group, count in self._command.wait:
                await self._wait_for_members(destination, group, count)
            try:
                await self._read(destination)
            except (LineError, EventFormatError, EventTooLargeError) as error:
                self.problem = f"line {self._line:,} of standard input: {error}"
            await destination.wait_drained()

    async def _wait_for_members(self, destination: Destination, group: str, count: int) -> None:
        members = f"{count} members" if count > 1 else "a member"
        note(f"waiting for {members} of the group {shown(group)}", self._command.verbose)
        await destination.wait_for_members(group, count)

    async def _read(self, destination: Destination) -> None:
        splitter = LineSplitter()
        while data := await self._source.read():
            await self._deliver(destination, splitter.feed(data))
        await self._deliver(destination, splitter.end())

    async def _deliver(self, destination: Destination, lines: list[bytes]) -> None:
        for line in lines:
            self._line += 1
            event = self._read_line(line)
            if event is not None:
                await self._deliver_one(destination, event)
                self._sent += 1

    async def _deliver_one(self, destination: Destination, event: Event) -> None:
        while True:
            if not (destination.groups or self._command.unheard):
                name = shown(self._command.name)
                note(
                    f"waiting for a group: eventgraph pipes recv {name} GROUP",
                    self._command.verbose,
                )
                await destination.wait_for_group()
            if await destination.deliver_within(event, math.inf):
                return
            if self._command.unheard:
                self._unheard += 1
                return

    def summary(self, statistics: DestinationStatistics) -> str:
        """One line: what became of the events."""
        events = "event" if self._sent == 1 else "events"
        parts = [f"sent {self._sent:,} {events} to {shown(self._command.name)}"]
        received, missed = _received(statistics), _missed(statistics)
        for group in sorted(received):
            part = f"{shown(group)} received {received[group]:,}"
            parts.append(part + (f" and missed {missed[group]:,}" if missed[group] else ""))
        if self._unheard:
            parts.append(f"{self._unheard:,} found no group")
        return "; ".join(parts)


async def _end_with(destination: Destination, scope: trio.CancelScope) -> None:
    with contextlib.suppress(PipeError):  # `Send.run` looks for it
        await destination.wait_over()
    scope.cancel()


def _received(statistics: DestinationStatistics) -> Counter[str]:
    """Events for each group, also for those that came again."""
    counts: Counter[str] = Counter()
    for pipe in (*statistics.ended, *statistics.pipes):
        counts[pipe.group] += pipe.counts.received
    return counts


def _missed(statistics: DestinationStatistics) -> Counter[str]:
    counts: Counter[str] = Counter()
    for pipe in (*statistics.ended, *statistics.pipes):
        counts[pipe.group] += pipe.counts.lost + sum(pipe.counts.dropped.values())
    return counts
