"""Export: carries a flow that is provided here to the machines that want it.

One crossing for each machine, however many consumers stand there: the flow is a destination of
pipes, and each machine a group of one member.
"""

import logging
import math
import secrets
import uuid
from typing import Final

import trio

from eventgraph.event import Event
from eventgraph.flows.authentication.sealing import KEY_SIZE
from eventgraph.flows.client import FlowClient
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import FlowError
from eventgraph.flows.key import FlowKey
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.server.carriage import Carriage
from eventgraph.pipes.destination import Destination
from eventgraph.pipes.errors import PipeError
from eventgraph.pipes.options import DestinationOptions, Overflow
from eventgraph.pipes.pipes import Pipes

QUEUE_BLOCKS: Final = 64  # that may wait for a machine; then the flow's policy is met
QUEUE_BYTES: Final = 64 << 20  # bytes of them
WINDOW: Final = 16  # messages that are on their way to a machine

_logger = logging.getLogger(__name__)


class Export:
    """One flow on its way out.

    Attributes:
        destination: that other machines join; empty until it stands.
        secret: that its blocks are sealed with; empty: they are not.
    """

    def __init__(self, key: FlowKey, options: ProviderOptions, *, sealed: bool) -> None:
        self.key = key
        self.destination = ""
        self.secret = secrets.token_bytes(KEY_SIZE) if sealed else b""
        self.scope = trio.CancelScope()
        self._destination: Destination | None = None
        self._consumer: Consumer | None = None
        self._blocks = options.slow_consumer is SlowConsumer.BLOCK
        self._carriage = Carriage(self.secret)

    def reaches(self, group: str) -> bool:
        """Whether the next block will be sent to that machine."""
        consumer, destination = self._consumer, self._destination
        return (
            consumer is not None
            and destination is not None
            and bool(consumer.sources)
            and group in destination.groups
        )

    async def run(self, client: FlowClient, pipes: Pipes) -> None:
        """Carry, until the scope is cancelled or something fails."""
        with self.scope:
            try:
                await self._carry(client, pipes)
            except (FlowError, PipeError) as error:
                _logger.warning("%s is not carried to other machines: %s", self.key, error)

    async def _carry(self, client: FlowClient, pipes: Pipes) -> None:
        name = uuid.uuid4().hex
        destination = await pipes.register(
            name,
            DestinationOptions(
                overflow=Overflow.REFUSE if self._blocks else Overflow.DROP_OLDEST,
                queue_size=QUEUE_BLOCKS,
                queue_bytes=QUEUE_BYTES,
                max_batch_bytes=1,  # a block is a message: it is large, or due
                window=WINDOW,
                drain_timeout=0.0,
            ),
        )
        self._destination, self.destination = destination, name
        try:
            await destination.wait_for_group()
            with await client.consume(self.key) as consumer:
                self._consumer = consumer
                async for block in consumer:
                    with block:
                        packed = self._carriage.pack(block.sequence, block.timestamp, block.data)
                    if self._blocks:
                        await destination.deliver_within(Event(0, packed), math.inf)
                    else:
                        destination.deliver(Event(0, packed))
        finally:
            self.destination = ""
            destination.end_soon()
