"""Import: brings a flow of another machine in, for all consumers that stand here."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from eventgraph.flows.client import FlowClient
from eventgraph.flows.errors import (
    AuthenticationError,
    BlockTooLargeError,
    FlowError,
    FlowProtocolError,
)
from eventgraph.flows.key import FlowKey
from eventgraph.flows.options import SlowConsumer
from eventgraph.flows.server.carriage import Carriage
from eventgraph.flows.server.peer_protocol import Carried
from eventgraph.flows.server.records import ClaimRecord
from eventgraph.pipes.errors import PipeError
from eventgraph.pipes.pipes import Pipes

MAX_GAP: Final = 1 << 20  # blocks that may be lost at once; more, and the other side counts wrongly

_logger = logging.getLogger(__name__)


class Import:
    """One flow on its way in.

    Timestamps become those of our clock by an offset that is the same each time the flow comes in:
    one that changed would put blocks out of order, or let one come twice.
    """

    def __init__(self, key: FlowKey, record: ClaimRecord, carried: Carried) -> None:
        self.key = key
        self.record = record
        self.carried = carried
        self.scope = trio.CancelScope()
        self.runs = True
        self.dropped: Counter[str] = Counter()
        """Blocks that did not arrive at consumers, by reason."""

    async def run(
        self,
        client: FlowClient,
        pipes: Pipes,
        group: str,
        offset: Callable[[], int],
    ) -> None:
        """Bring it in, until the scope is cancelled or something fails.

        Args:
            offset: nanoseconds to be added to the timestamps.
        """
        with self.scope:
            try:
                await self._bring(client, pipes, group, offset)
            except (FlowError, PipeError) as error:
                _logger.warning("%s of %s: %s", self.key, self.record.machine, error)
        self.runs = False

    async def _bring(
        self,
        client: FlowClient,
        pipes: Pipes,
        group: str,
        offset: Callable[[], int],
    ) -> None:
        record = self.record
        carriage = Carriage(self.carried.secret)
        waits = record.options.slow_consumer is SlowConsumer.BLOCK
        member = await pipes.join(self.carried.destination, group, payload_type=memoryview)
        try:
            with await client.bring_in(
                self.key, record.format, record.options, flow=record.flow, started=record.started
            ) as provider:
                shift = offset()
                last, expected = -(2**63), -1
                async for event in member:
                    try:
                        sequence, timestamp, data = carriage.unpack(event.obj)
                        timestamp += shift
                        if 0 <= expected < sequence <= expected + MAX_GAP:
                            provider.skip(sequence - expected)
                        expected = sequence + 1
                        if timestamp <= last:
                            self.dropped["repeated"] += 1
                        elif waits:
                            await provider.send(data, timestamp)
                        elif not provider.offer(data, timestamp):
                            self.dropped["slow"] += 1
                        last = max(last, timestamp)
                    except (FlowProtocolError, AuthenticationError, BlockTooLargeError) as error:
                        if not self.dropped["unreadable"]:
                            _logger.warning("%s of %s: %s", self.key, record.machine, error)
                        self.dropped["unreadable"] += 1
        finally:
            member.end_soon()
