"""Providers and consumers that are connected with each other without a server."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from eventgraph.flows.block import Block
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.provider import Provider
from eventgraph.flows.ring import RingView
from eventgraph.flows.source import Source

KEY: Final = FlowKey("test", "flow")
PATTERN: Final = FlowPattern("test", "flow")
FORMAT: Final = FlowFormat("RAW")
TIMEOUT: Final = 20  # seconds, many times what anything here takes

SHARED: Final = ProviderOptions(inline=0, slots=8, max_block=4096)
LOSSLESS: Final = ProviderOptions(
    slow_consumer=SlowConsumer.BLOCK, inline=0, slots=8, max_block=4096
)


@asynccontextmanager
async def providing(
    options: ProviderOptions = SHARED, key: FlowKey = KEY
) -> AsyncIterator[Provider]:
    provider = Provider(key, FORMAT, options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.run)
        try:
            yield provider
        finally:
            provider.close()
            nursery.cancel_scope.cancel()


def connect(
    provider: Provider, consumer: Consumer | None = None, name: str = "consumer", flow: str = "flow"
) -> Consumer:
    """What a server does."""
    consumer = consumer or Consumer(PATTERN)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ring = RingView(os.dup(provider.ring.fd))
    provider.attach(name, ours)
    consumer.connect(Source(flow, provider.key, provider.format, theirs, ring))
    return consumer


def hostile_consumer(provider: Provider, name: str = "hostile") -> socket.socket:
    """The other end of a provider's socket, to do with it what one likes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    provider.attach(name, ours)
    theirs.setblocking(False)
    return theirs


def hostile_provider(consumer: Consumer, ring_fd: int) -> socket.socket:
    """The other end of a consumer's socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    consumer.connect(Source("hostile", KEY, FORMAT, theirs, RingView(os.dup(ring_fd))))
    ours.setblocking(False)
    return ours


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # a probe has nothing to wait on
            await trio.sleep(0.001)


async def received(consumer: Consumer) -> Block:
    """The next block; it is in time, or the test fails."""
    with trio.fail_after(TIMEOUT):
        return await consumer.receive()


async def drained(consumer: Consumer) -> list[int]:
    """Receive what is there, and give it back; the sequence numbers."""
    numbers = []
    with trio.move_on_after(0.2) as scope:
        while True:
            with await consumer.receive() as block:
                numbers.append(block.sequence)
            scope.deadline = trio.current_time() + 0.2
    return numbers
