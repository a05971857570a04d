"""The client that converts: it consumes a flow, and provides it in another format.

One process for each flow and format, on one thread: there is nothing else that it would delay.
It goes on when the provider of the source changes, and waits while there is none. When the
source's format changes it ends, and whoever has started it starts it anew.

Usage: python -m eventgraph.flows.conversion GROUP/NAME FORMAT, started by a server.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from eventgraph.flows.block import Block
from eventgraph.flows.client import FlowClient
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.conversion.interface import BlockConverter
from eventgraph.flows.conversion.opening import Conversions, open_conversions
from eventgraph.flows.errors import FlowClosedError, FlowError, FlowOptionError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.flows.opening import open_flows
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.provider import Provider

MIN_BLOCK: Final = 4 << 10  # bytes
MAX_BLOCK: Final = 128 << 20  # bytes; above a picture of 8K with four channels of 8 bits
ROOM: Final = 2  # times what the first block needs: the next are often a little larger
REPORT_PERIOD: Final = 10.0  # seconds between two reports of what was dropped

_logger = logging.getLogger(__name__)


class ConverterStatistics(msgspec.Struct, frozen=True):
    """A converter at one instant.

    Attributes:
        taken, given: blocks.
        dropped: blocks by reason: ``bad``: not of the source's format, or late; ``too_large``:
            what it becomes is above the limit; ``no_slot``: consumers hold the whole ring.
    """

    taken: int
    given: int
    dropped: dict[str, int]


class ConverterProcess:
    """Converts one flow.

    Args:
        client: to consume and provide.
        target: the format to make, whole.
        max_block: bytes; what becomes larger is dropped.
    """

    def __init__(
        self,
        client: FlowClient,
        conversions: Conversions,
        key: FlowKey,
        target: FlowFormat,
        *,
        max_block: int = MAX_BLOCK,
    ) -> None:
        self._client = client
        self._conversions = conversions
        self._key = key
        self._target = target
        self._max_block = max_block
        self._provider: Provider | None = None
        self._dropped: Counter[str] = Counter()
        self._taken = self._given = 0
        self._reported = -REPORT_PERIOD

    async def run(self) -> None:
        """Convert until the source's format changes, or the client is to end.

        Raises:
            FlowConversionError: that cannot be done.
        """
        with await self._client.consume(self._key) as consumer:
            block = await self._next(consumer)
            if block is None:
                return
            source = block.format
            converter = self._conversions.open(self._conversions.plan(source, self._target))
            _logger.info("%s: %s becomes %s", self._key, source, self._target)
            while block is not None and block.format == source:
                with block:
                    await self._convert(converter, block)
                block = await self._next(consumer)
            if block is not None:
                _logger.info("%s: is %s now, was %s", self._key, block.format, source)
                block.release()
                self._give(converter.flush())

    async def _next(self, consumer: Consumer) -> Block | None:
        """None: there are no more."""
        try:
            return await consumer.receive()
        except FlowClosedError:
            return None

    async def _convert(self, converter: BlockConverter, block: Block) -> None:
        self._taken += 1
        size = converter.max_block_size(len(block.data))
        if size > self._max_block:
            self._drop("too_large", f"{len(block.data)} bytes may become {size}")
            return
        try:
            made = converter.convert(block.data, block.timestamp)
        except FlowOptionError as error:
            self._drop("bad", str(error))
            return
        try:
            await self._make_room(size)
            self._give(made)
        except FlowClosedError:
            pass  # it is to end: there are no more

    async def _make_room(self, size: int) -> None:
        """Have a ring whose slots are large enough."""
        before = self._provider
        if before is not None and before.options.max_block >= size:
            return
        options = ProviderOptions(max_block=max(MIN_BLOCK, min(ROOM * size, self._max_block)))
        target = self._target
        self._provider = await self._client.provide(self._key, target, options, variant=str(target))
        if before is not None:
            before.close()  # its consumers have the other

    def _give(self, blocks: Sequence[tuple[bytes | memoryview, int]]) -> None:
        provider = self._provider
        if provider is None:
            return
        for data, timestamp in blocks:
            if len(data) > provider.options.max_block:
                self._drop("too_large", f"{len(data)} bytes were made")
            elif provider.offer(data, timestamp):
                self._given += 1
            else:
                self._drop("no_slot", "consumers hold all slots")

    def _drop(self, reason: str, why: str) -> None:
        self._dropped[reason] += 1
        if trio.current_time() - self._reported >= REPORT_PERIOD:
            self._reported = trio.current_time()
            _logger.warning("%s: dropped so far %s; %s", self._key, dict(self._dropped), why)

    def statistics(self) -> ConverterStatistics:
        """Its counts."""
        return ConverterStatistics(self._taken, self._given, dict(self._dropped))


def main(arguments: Sequence[str]) -> int:
    """Convert, until there is no need for it; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        if len(arguments) != 2:
            raise FlowOptionError("usage: python -m eventgraph.flows.conversion GROUP/NAME FORMAT")
        key, target = FlowKey.parse(arguments[0]), _format(arguments[1])
        trio.run(_run, key, target)
    except FlowError as error:
        _logger.error("%s", error)  # noqa: TRY400  # it says what to do; a traceback does not
        return 1
    return 0


async def _run(key: FlowKey, target: FlowFormat) -> None:
    async with open_flows() as client:
        process = ConverterProcess(client, open_conversions(), key, target)
        await process.run()
        _logger.info("%s: %s", key, process.statistics())


def _format(text: str) -> FlowFormat:
    """As JSON, which leaves nothing open, or as `FlowFormat.parse` reads it."""
    if not text.startswith("{"):
        return FlowFormat.parse(text)
    try:
        return msgspec.json.decode(text, type=FlowFormat)
    except msgspec.MsgspecError as error:
        raise FlowOptionError(f"{text} is no format: {error}") from None
