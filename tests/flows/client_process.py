"""A client for tests, in a process of its own: does what stdin says.

Usage: python -m tests.flows.client_process OPTIONS NAME KEEPALIVE
What it provides it numbers from 0; what it consumes it checks block by block.
"""

import os
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from eventgraph.flows import Block, Consumer, FlowClient, FlowClosedError, Provider, open_flows
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.server.options import decode_options
from tests.pipes.processes import hello, serve

CONTENT: Final = struct.Struct("<IQ")  # process and number


def rings(process: int | str) -> int:
    """How many rings a process has: open, or mapped."""
    found = {
        int(line.split()[4])
        for line in Path(f"/proc/{process}/maps").read_text().splitlines()
        if "/memfd:eventgraph:" in line
    }
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory that is listed itself, or closed now
            if "memfd:eventgraph:" in os.readlink(path):
                found.add(path.stat().st_ino)
    return len(found)


class Sent:
    """A flow that is provided without end."""

    def __init__(self, provider: Provider, interval: float, size: int) -> None:
        self.provider = provider
        self.count = 0
        self._interval = interval
        self._size = max(size, CONTENT.size)

    async def run(self) -> None:
        try:
            while True:
                content = CONTENT.pack(os.getpid(), self.count)
                await self.provider.send(content.ljust(self._size, b"."))
                self.count += 1
                await trio.sleep(self._interval)
        except FlowClosedError:
            pass

    def state(self) -> dict[str, Any]:
        error = self.provider.error
        return {
            "count": self.count,
            "running": self.provider.running,
            "consumers": len(self.provider.consumers),
            "held": self.provider.statistics().slots_held,
            "error": type(error).__name__ if error else "",
        }


class Taken:
    """Flows that are consumed as they come."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.count = self.missed = self.disordered = 0
        self.error = ""
        self._last: dict[tuple[str, int], int] = {}
        self._timestamps: dict[str, int] = {}

    async def run(self) -> None:
        try:
            while True:
                with await self.consumer.receive() as block:
                    self._check(block)
        except Exception as error:
            self.error = type(error).__name__
            if not isinstance(error, FlowClosedError):
                raise

    def _check(self, block: Block) -> None:
        pid, number = CONTENT.unpack_from(block.data)
        key = str(block.key)
        last = self._last.get((key, pid))
        if last is not None:
            self.missed += max(0, number - last - 1)
        ordered = block.timestamp > self._timestamps.get(key, 0)
        self.disordered += not ordered or (last is not None and number <= last)
        self._last[key, pid] = number
        self._timestamps[key] = block.timestamp
        self.count += 1

    def state(self) -> dict[str, Any]:
        statistics = self.consumer.statistics()
        return {
            "count": self.count,
            "missed": self.missed,
            "disordered": self.disordered,
            "providers": len({pid for _, pid in self._last}),
            "keys": sorted({key for key, _ in self._last}),
            "last": {str(pid): number for (_, pid), number in self._last.items()},
            "sources": len(statistics.sources),
            "takeovers": statistics.takeovers,
            "gap": statistics.last_gap,
            "repeated": statistics.repeated,
            "error": self.error,
        }


class Commands:
    """What stdin can ask for."""

    def __init__(self, client: FlowClient, nursery: trio.Nursery) -> None:
        self._client = client
        self._nursery = nursery
        self._sent: dict[str, Sent] = {}
        self._taken: dict[str, Taken] = {}

    async def provide(
        self, key: str, options: dict[str, Any], interval: float = 0.002, size: int = 0
    ) -> None:
        provider = await self._client.provide(
            key, "RAW", msgspec.convert(options, ProviderOptions, strict=False)
        )
        sent = self._sent[key] = Sent(provider, interval, size)
        self._nursery.start_soon(sent.run)

    async def send(self, key: str) -> None:
        await self._sent[key].provider.send(b"")

    async def consume(self, pattern: str) -> None:
        consumer = await self._client.consume(pattern)
        taken = self._taken[pattern] = Taken(consumer)
        self._nursery.start_soon(taken.run)

    async def close(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        if name in self._sent:
            self._sent.pop(name).provider.close()
        else:
            self._taken.pop(name).consumer.close()

    async def stop(self, pattern: str) -> None:
        await self._taken[pattern].consumer.stop()

    async def start(self, pattern: str) -> None:
        await self._taken[pattern].consumer.start()

    async def sent(self, key: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return self._sent[key].state()

    async def taken(self, pattern: str) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return self._taken[pattern].state()

    async def step_clock(self, seconds: float) -> None:
        """Set the wall clock of this process forth, or back."""
        await trio.lowlevel.checkpoint()
        real, step = time.time_ns, round(seconds * 1e9)
        time.time_ns = lambda: real() + step

    async def look(self) -> Any:
        return msgspec.to_builtins(await self._client.look())

    async def rings(self) -> int:
        """That this process has."""
        await trio.lowlevel.checkpoint()
        return rings("self")


async def main(options: str, name: str, keepalive: str) -> None:
    async with (
        open_flows(decode_options(options), name=name, keepalive=float(keepalive)) as client,
        trio.open_nursery() as nursery,
    ):
        commands = Commands(client, nursery)
        names = [name for name in vars(Commands) if not name.startswith("_")]
        await serve({"hello": hello, **{name: getattr(commands, name) for name in names}})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    _, told, name, keepalive = sys.argv
    trio.run(main, told, name, keepalive)
