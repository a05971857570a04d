"""A client of one machine, which does what it is told.

Usage: python -m tests.flows.machine_process NAME SERVER_OPTIONS

Blocks carry their number and who sent them; each consumer keeps what it was given.
"""

import os
import signal
import struct
import sys
from typing import Any

import msgspec
import trio

from eventgraph.flows import (
    Consumer,
    FlowClient,
    FlowClosedError,
    FlowConversionError,
    FlowRefusedError,
    Provider,
    ProviderOptions,
    SlowConsumer,
    open_flows,
)
from eventgraph.flows.server.options import decode_options
from tests.pipes.processes import hello, serve

PERIOD = 0.01  # seconds between two blocks
NUMBER = struct.Struct("<QQ")


class Party:
    """At most one provider and one consumer."""

    def __init__(self, client: FlowClient, nursery: trio.Nursery, number: int) -> None:
        self._client = client
        self._nursery = nursery
        self._number = number
        self._provider: Provider | None = None
        self._consumer: Consumer | None = None
        self._taken: list[tuple[int, int, int]] = []  # sender, number, timestamp
        self._ended = ""

    async def provide(self, key: str, size: int, options: dict[str, Any]) -> None:
        """Send blocks of so many bytes, one each 10 ms."""
        self._provider = await self._client.provide(
            key, "RAW", msgspec.convert(options, ProviderOptions)
        )
        self._nursery.start_soon(self._send, self._provider, size)

    async def _send(self, provider: Provider, size: int) -> None:
        blocks = provider.options.slow_consumer is SlowConsumer.BLOCK
        try:
            for number in range(1 << 60):
                await provider.send(NUMBER.pack(self._number, number).ljust(size, b"."))
                if not blocks:
                    await trio.sleep(PERIOD)
        except FlowClosedError as error:
            self._ended = f"{type(error).__name__}: {error}"

    async def consume(self, pattern: str, pause: float = 0.0) -> None:
        """Take blocks, and sleep so long after each."""
        self._consumer = await self._client.consume(pattern)
        self._nursery.start_soon(self._take, self._consumer, pause)

    async def _take(self, consumer: Consumer, pause: float) -> None:
        try:
            async for block in consumer:
                with block:
                    self._taken.append((*NUMBER.unpack_from(block.data), block.timestamp))
                if pause:
                    await trio.sleep(pause)
        except FlowConversionError as error:
            self._ended = str(error)

    async def signal(self, start: bool) -> str:
        """START or STOP; why it was refused."""
        assert self._consumer is not None
        try:
            await (self._consumer.start() if start else self._consumer.stop())
        except FlowRefusedError as error:
            return str(error)
        return ""

    async def taken(self) -> list[tuple[int, int, int]]:
        """What came since it was asked last."""
        await trio.lowlevel.checkpoint()
        taken, self._taken = self._taken, []
        return taken

    async def state(self) -> dict[str, Any]:
        """Of the provider and the consumer."""
        await trio.lowlevel.checkpoint()
        provider, consumer = self._provider, self._consumer
        return {
            "running": provider.running if provider is not None else None,
            "ended": self._ended,
            "sent": provider.statistics().blocks if provider is not None else 0,
            "consumer": msgspec.to_builtins(consumer.statistics()) if consumer else None,
        }

    async def look(self) -> Any:
        """All machines, by name."""
        listing = await self._client.look()
        return {machine.name: msgspec.to_builtins(machine) for machine in listing.machines}

    async def kill_server(self) -> None:
        """As ``kill -9``."""
        listing = await self._client.look(everywhere=False)
        os.kill(listing.machines[0].pid, signal.SIGKILL)

    async def close(self) -> None:
        """End what it provides and consumes."""
        await trio.lowlevel.checkpoint()
        for end in (self._provider, self._consumer):
            if end is not None:
                end.close()


async def main(name: str, options: str) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_flows(decode_options(options), name=name, keepalive=1.0) as client,
    ):
        party = Party(client, nursery, int(name[-1]))
        commands = (
            "provide",
            "consume",
            "signal",
            "taken",
            "state",
            "look",
            "kill_server",
            "close",
        )
        await serve({"hello": hello, **{command: getattr(party, command) for command in commands}})
        await party.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
