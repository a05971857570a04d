"""A program that sends numbers, or takes them, on a machine of its own.

Usage: python -m tests.pipes.party_process send|take REGISTRY HOST TRANSPORT RELIABILITY KEEPALIVE
"""

import sys
from typing import Any

import msgspec
import trio

from eventgraph import Event
from eventgraph.pipes import (
    Binding,
    Destination,
    DestinationOptions,
    Member,
    Reliability,
    SocketLimits,
    open_pipes,
)
from tests.pipes.processes import hello, serve, until

PACE = 0.003  # seconds between two numbers


class Sender:
    """The sending end."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._sending = trio.CancelScope()

    async def run(self, members: int) -> None:
        await self._destination.wait_for_members("group", members)
        number = 0
        with self._sending:
            while True:
                self._destination.deliver(Event(number, b"x" * 100))
                number += 1
                await trio.sleep(PACE)

    async def look(self) -> Any:
        """The statistics of the pipe; None if there is none."""
        await trio.lowlevel.checkpoint()
        pipes = self._destination.statistics().pipes
        return msgspec.to_builtins(pipes[0]) if pipes else None

    async def settle(self) -> Any:
        """Send no more, and wait until nothing is on its way."""
        self._sending.cancel()

        def is_idle() -> bool:
            (pipe,) = self._destination.statistics().pipes
            return not pipe.counts.queued and not pipe.counts.in_flight

        with trio.move_on_after(10):
            await until(is_idle)
        return await self.look()


class Taker:
    """The taking end."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._numbers: list[int] = []
        self._longest_gap = 0.0

    async def run(self) -> None:
        last = trio.current_time()
        async for event in self._member:
            self._numbers.append(event.cmd)
            now = trio.current_time()
            self._longest_gap, last = max(self._longest_gap, now - last), now

    async def look(self) -> Any:
        """How it is; the longest gap is that since the last look, in seconds."""
        await trio.lowlevel.checkpoint()
        statistics = self._member.statistics()
        gap, self._longest_gap = self._longest_gap, 0.0
        return {
            "state": statistics.state,
            "redials": statistics.redials,
            "gap": gap,
        }

    async def taken(self) -> int:
        """How many numbers."""
        await trio.lowlevel.checkpoint()
        return len(self._numbers)

    async def numbers(self) -> list[int]:
        """All that were taken, in their order."""
        await trio.lowlevel.checkpoint()
        return self._numbers


async def main(  # noqa: PLR0917  # the command line has an order
    role: str, registry: str, host: str, transport: Any, reliability: str, keepalive: str
) -> None:
    limits = SocketLimits(keepalive=float(keepalive), reconnect_min=0.02, reconnect_max=0.2)
    async with (
        open_pipes(
            registry, transport=transport, binding=Binding(host=host), limits=limits
        ) as pipes,
        trio.open_nursery() as nursery,
    ):
        if role == "send":
            options = DestinationOptions(reliability=Reliability(reliability), loss_grace=0.3)
            sender = Sender(await pipes.register("numbers", options))
            nursery.start_soon(sender.run, 3)
            await serve({"hello": hello, "look": sender.look, "settle": sender.settle})
        else:
            taker = Taker(await pipes.join("numbers", "group"))
            nursery.start_soon(taker.run)
            await serve(
                {
                    "hello": hello,
                    "look": taker.look,
                    "taken": taker.taken,
                    "numbers": taker.numbers,
                }
            )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(lambda: main(*sys.argv[1:]))
