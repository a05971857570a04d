"""``eventgraph flows consume``: the blocks of a flow become lines, or bytes, of standard output."""

import contextlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import trio

from eventgraph.background import open_background
from eventgraph.flows import Block, Consumer, FlowFormat
from eventgraph.flows.key import FlowPattern
from rtp.flows.errors import FlowCommandError
from rtp.flows.options import RealmOptions
from rtp.flows.running import counted, working
from rtp.interruption import Interruption
from rtp.standard_streams import StandardOutput, end_with_reader, note

BlockForm = Literal["text", "json", "lines", "raw"]

UNWRITTEN: Final = 64  # blocks that wait to be written; then it takes no more
GLANCE: Final = 0.1  # seconds between two looks who provides


@dataclass(frozen=True, kw_only=True)
class Consume:
    """The command, with what it was given."""

    realm: RealmOptions
    name: str | None
    pattern: FlowPattern
    format: FlowFormat | None
    form: BlockForm
    start: bool  # whether it says START
    count: int | None  # blocks after which it ends
    idle: float | None  # seconds without a block after which it ends
    verbose: bool

    async def run(self, interruption: Interruption) -> int:
        """The exit status. Raises: FlowError, RtpError; the latter also if too few blocks came."""
        output = StandardOutput()
        writing = _Writing(self, output)
        async with self.realm.open(self.name, "consume") as client:
            consumer: Consumer | None = None
            async with working(client, interruption):
                consumer = await client.consume(self.pattern, self.format)
                if self.start:
                    await consumer.start()
                await writing.run(consumer)
            if consumer is not None:
                print(writing.summary(consumer), file=sys.stderr, flush=True)
                consumer.close()
        if writing.silent and self.count is not None:
            raise FlowCommandError(
                f"{writing.blocks:,} of {self.count:,} blocks came, then none for {self.idle:g} s"
            )
        return 0


class _Writing:
    """From a consumer to standard output; who reads slowly makes the consumer miss blocks."""

    def __init__(self, command: Consume, output: StandardOutput) -> None:
        self.silent = False  # nothing came for too long
        self.blocks = 0  # written
        self._command = command
        self._output = output
        self._render = RENDERERS[command.form]
        self._bytes = 0

    async def run(self, consumer: Consumer) -> None:
        """Until there were enough, nobody reads, or nothing came for too long."""
        with contextlib.suppress(BrokenPipeError):
            async with open_background() as nursery:
                nursery.start_soon(end_with_reader, self._output, nursery.cancel_scope)
                nursery.start_soon(self._tell_state, consumer)
                send, receive = trio.open_memory_channel[tuple[bytes, int]](UNWRITTEN)
                nursery.start_soon(self._read, consumer, send)
                async with receive:
                    await self._write(receive)

    async def _read(
        self, consumer: Consumer, send: "trio.MemorySendChannel[tuple[bytes, int]]"
    ) -> None:
        left = math.inf if self._command.count is None else self._command.count
        idle = math.inf if self._command.idle is None else self._command.idle
        async with send:
            while left:
                with trio.move_on_after(idle) as patience:
                    block = await consumer.receive()
                if patience.cancelled_caught:
                    self.silent = True
                    return
                with block:
                    rendered = self._render(block), len(block.data)
                await send.send(rendered)
                left -= 1

    async def _write(self, receive: "trio.MemoryReceiveChannel[tuple[bytes, int]]") -> None:
        async for first in receive:
            parts = [first]
            with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    parts.append(receive.receive_nowait())
            await self._output.write(b"".join([data for data, _ in parts]))
            self.blocks += len(parts)
            self._bytes += sum(length for _, length in parts)

    async def _tell_state(self, consumer: Consumer) -> None:
        """Say when there is a provider, of which format, and when it is gone.

        That the format is another now is said in any case: who reads cannot see it.
        """
        told: str | None = None
        last = ""
        while True:
            formats = ", ".join(sorted({str(source.format) for source in consumer.sources}))
            if formats != told:
                told = formats
                state = f"connected: {formats}" if formats else "waiting for a provider"
                changed = bool(formats and last and formats != last)
                note(f"{self._command.pattern}: {state}", self._command.verbose or changed)
                last = formats or last
            await trio.sleep(GLANCE)

    def summary(self, consumer: Consumer) -> str:
        """One line: what came, what did not, and who took over."""
        statistics = consumer.statistics()
        missed = statistics.missed + statistics.unread
        text = f"{self._command.pattern}: {counted(self.blocks, 'block')}"
        text += f", {counted(self._bytes, 'byte')}"
        text += f"; missed {missed:,}"
        if statistics.takeovers:
            text += f"; takeovers {statistics.takeovers:,}, the last with a gap of "
            text += f"{statistics.last_gap / 1e6:,.1f} ms"
        return text


class BlockLine(msgspec.Struct):
    """A block, as JSON; its timestamp is in nanoseconds."""

    key: str
    format: str
    sequence: int
    timestamp: int
    bytes: int


def _json(block: Block) -> bytes:
    line = BlockLine(
        str(block.key), str(block.format), block.sequence, block.timestamp, len(block.data)
    )
    return msgspec.json.encode(line) + b"\n"


def _text(block: Block) -> bytes:
    seconds, rest = divmod(block.timestamp, 1_000_000_000)
    time = f"{seconds}.{rest:09}"
    return f"{block.key}  {block.sequence}  {time} s  {len(block.data)} bytes\n".encode()


def _line(block: Block) -> bytes:
    return bytes(block.data) + b"\n"


def _raw(block: Block) -> bytes:
    return bytes(block.data)


RENDERERS: Final[dict[BlockForm, Callable[[Block], bytes]]] = {
    "text": _text,
    "json": _json,
    "lines": _line,
    "raw": _raw,
}
