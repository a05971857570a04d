"""A program with destinations, which registers and sends as it is told.

Usage: python -m tests.pipes.sender_process REGISTRY SETTINGS
"""

import json
import sys
from typing import Any

import msgspec
import trio

from eventgraph import Event
from eventgraph.pipes import (
    Destination,
    DestinationOptions,
    Pipes,
    PipeStatistics,
    SocketLimits,
    open_pipes,
)
from tests.pipes.processes import hello, serve, until

TICK = 0.01  # seconds between two bursts
PATIENCE = 60.0  # seconds that a full group is waited for


class Load:
    """A destination, and the task that sends numbered events to it."""

    def __init__(self, destination: Destination, first: int) -> None:
        self.destination = destination
        self.sent = 0
        self._first = first
        self._scope = trio.CancelScope()
        self._pipes: dict[int, PipeStatistics] = {}  # by epoch: all that there have been

    async def send(self, rate: float, count: int | None, size: int) -> None:
        payload = bytes(size)
        began, before = trio.current_time(), self.sent
        with self._scope:
            while count is None or self.sent < before + count:
                due = int((trio.current_time() - began) * rate) + 1
                due = due if count is None else min(due, count)
                while self.sent < before + due:
                    event = Event(self._first + self.sent, payload)
                    await self.destination.deliver_within(event, PATIENCE)
                    self.sent += 1
                self.look()
                await trio.sleep(TICK)

    def stop(self) -> None:
        self._scope.cancel()
        self._scope = trio.CancelScope()

    def look(self) -> None:
        """A destination forgets pipes that have long ended; here they all stay."""
        statistics = self.destination.statistics()
        self._pipes |= {pipe.epoch: pipe for pipe in [*statistics.ended, *statistics.pipes]}

    @property
    def groups(self) -> dict[str, list[PipeStatistics]]:
        """All pipes by group."""
        self.look()
        groups: dict[str, list[PipeStatistics]] = {}
        for pipe in self._pipes.values():
            groups.setdefault(pipe.group, []).append(pipe)
        return groups


class Senders:
    """Destinations by name."""

    def __init__(self, pipes: Pipes, nursery: trio.Nursery) -> None:
        self._pipes = pipes
        self._nursery = nursery
        self._loads: dict[str, Load] = {}

    async def register(
        self, name: str, options: dict[str, Any], first: int = 0, standby: bool = False
    ) -> None:
        """``first``: the number of its first event."""
        given = msgspec.convert(options, DestinationOptions)
        destination = await self._pipes.register(name, given, standby=standby)
        self._loads[name] = Load(destination, first)

    async def stand_by(self, name: str, options: dict[str, Any], first: int) -> None:
        """Register in the background, as soon as whoever has it is gone."""
        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(self.register, name, options, first, True)

    async def registered(self) -> list[str]:
        """The names that are had now."""
        await trio.lowlevel.checkpoint()
        return [
            name for name, load in self._loads.items() if load.destination.statistics().registered
        ]

    async def wait_registered(self, name: str) -> None:
        """Wait until `stand_by` has succeeded."""
        await until(lambda: name in self._loads)

    async def wait_for_members(self, name: str, group: str, count: int) -> None:
        await self._loads[name].destination.wait_for_members(group, count)

    async def send(self, name: str, rate: float, count: int | None = None, size: int = 100) -> None:
        """Begin to send so many events a second, in the background."""
        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(self._loads[name].send, rate, count, size)

    async def stop(self, name: str) -> int:
        """Send no more; how many were sent."""
        await trio.lowlevel.checkpoint()
        self._loads[name].stop()
        return self._loads[name].sent

    async def settle(self, name: str, seconds: float) -> bool:
        """Wait until nothing waits nor is on its way; whether that came in time."""
        destination = self._loads[name].destination

        def is_idle() -> bool:
            counts = [pipe.counts for pipe in destination.statistics().pipes]
            return not any(each.queued or each.in_flight for each in counts)

        with trio.move_on_after(seconds) as scope:
            await until(is_idle)
        return not scope.cancelled_caught

    async def wait_for_alive(self, name: str, group: str, count: int) -> None:
        """Wait until a group has exactly so many members."""
        destination = self._loads[name].destination

        def has_so_many() -> bool:
            pipes = destination.statistics().pipes
            return [pipe.members for pipe in pipes if pipe.group == group] == [count]

        await until(has_so_many)

    async def wait_sent(self, name: str, count: int) -> None:
        """Wait until so many events were sent."""
        load = self._loads[name]
        await until(lambda: load.sent >= count)

    async def pipes(self, name: str) -> Any:
        """The statistics of all pipes that there have been, by group."""
        await trio.lowlevel.checkpoint()
        return msgspec.to_builtins(self._loads[name].groups)


async def main(registry: str, keepalive: float, ttl: float) -> None:
    limits = SocketLimits(keepalive=keepalive)
    async with (
        open_pipes(registry, limits=limits, ttl=ttl) as pipes,
        trio.open_nursery() as nursery,
    ):
        senders = Senders(pipes, nursery)
        await serve(
            {
                "hello": hello,
                "register": senders.register,
                "stand_by": senders.stand_by,
                "registered": senders.registered,
                "wait_registered": senders.wait_registered,
                "wait_for_members": senders.wait_for_members,
                "send": senders.send,
                "stop": senders.stop,
                "settle": senders.settle,
                "wait_for_alive": senders.wait_for_alive,
                "wait_sent": senders.wait_sent,
                "pipes": senders.pipes,
            }
        )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    trio.run(main, sys.argv[1], settings["keepalive"], settings["ttl"])
