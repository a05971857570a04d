"""Flows for programs without trio: the same client, called from plain code.

    from eventgraph.flows.blocking import sf_init

    with sf_init("studio", name="tone") as flows:
        with flows.provide("tones/a", "AUDIO,rate=48000,channels=1,sample=s16") as tone:
            while not flows.leaving:
                with tone.buffer() as block:
                    block.length = fill(block.data)

trio runs in a thread of its own, and every call is handed to it, so any thread may call (but no
task of trio: that has the client itself). A call
takes the hops between threads there and back longer than its async twin: 0.1 to 0.2 ms measured,
whatever the size of the block; so this is for a thousand blocks a second, not for tens of
thousands. What is raised there is raised where the call stands. Ctrl-C ends a call that waits.
"""

import atexit
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from typing import Final, Self, TypeVar

import trio

from eventgraph.flows.block import Block
from eventgraph.flows.client import FlowClient
from eventgraph.flows.consumer import Consumer, ConsumerStatistics
from eventgraph.flows.errors import FlowClosedError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.listing import Listing
from eventgraph.flows.opening import open_flows
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.provider import Data, Draft, Provider, ProviderStatistics
from eventgraph.flows.server.options import ServerOptions

END_TIMEOUT: Final = 5.0  # seconds for the thread to end

T = TypeVar("T")


def sf_init(
    application: str | ServerOptions | None = None,
    *,
    name: str | None = None,
    start: bool = True,
    keepalive: float = 2.0,
) -> "SmartFlow":
    """Take part in the flows of an application, until `sf_exit` or the end of the program.

    Args, Raises:
        As `eventgraph.flows.open_flows`.
    """
    opening = partial(open_flows, application, name=name, start=start, keepalive=keepalive)
    return SmartFlow(_Thread(opening))


def sf_exit(flows: "SmartFlow") -> None:
    """End all that was provided and consumed. Idempotent."""
    flows.close()


class SmartFlow:
    """A program's part in the flows of an application. Made by `sf_init`."""

    def __init__(self, thread: "_Thread") -> None:
        self._thread = thread

    @property
    def leaving(self) -> bool:
        """Whether somebody wants this program to end, or it takes part no more."""
        return self._thread.over or self._thread.client.leaving.is_set()

    def provide(
        self,
        key: FlowKey | str,
        format: FlowFormat | str = "RAW",
        options: ProviderOptions | None = None,
    ) -> "BlockingProvider":
        """Begin a flow; see `FlowClient.provide`."""
        client, call = self._thread.client, self._thread.call
        return BlockingProvider(self._thread, call(client.provide, key, format, options))

    def consume(
        self, pattern: FlowPattern | FlowKey | str, format: FlowFormat | str | None = None
    ) -> "BlockingConsumer":
        """Take part in flows; see `FlowClient.consume`."""
        client, call = self._thread.client, self._thread.call
        return BlockingConsumer(self._thread, call(client.consume, pattern, format))

    def look(self) -> Listing:
        """Machines, clients and flows; see `FlowClient.look`."""
        return self._thread.call(self._thread.client.look)

    def close(self) -> None:
        """End all that was provided and consumed; calls that wait raise. Idempotent."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlockingProvider:
    """The end of a flow that makes its blocks; see `Provider`. Time-outs are in seconds."""

    def __init__(self, thread: "_Thread", provider: Provider) -> None:
        self._thread = thread
        self._provider = provider

    def send(
        self, data: Data, timestamp: int | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a block; waits while the flow is stopped; see `Provider.send`.

        Raises:
            TimeoutError: it was not sent in time.
            BlockTooLargeError, FlowOptionError, FlowClosedError: as there.
        """
        self._thread.call(self._provider.send, data, timestamp, timeout=timeout)

    def offer(self, data: Data, timestamp: int | None = None) -> bool:
        """The same, and never waits: False if it would; then the block is dropped, and counted."""
        return self._thread.call_now(self._provider.offer, data, timestamp)

    @contextmanager
    def buffer(self, *, timeout: float | None = None) -> Iterator[Draft]:
        """A block to be filled in shared memory; it is sent when the context is left in order.

        Raises:
            As `send`; what is wrong with the block, when the context is left.
        """
        call, block = self._thread.call, self._provider.block()
        draft = call(block.__aenter__, timeout=timeout)
        try:
            yield draft
        except BaseException as error:
            call(block.__aexit__, type(error), error, error.__traceback__)
            raise
        call(block.__aexit__, None, None, None)

    @property
    def running(self) -> bool:
        """Whether nobody has stopped the flow."""
        return self._provider.running

    def wait_running(self, *, timeout: float | None = None) -> None:
        """Wait until it is not stopped.

        Raises:
            TimeoutError: it still is.
            FlowClosedError: the provider was closed, or is obsolete.
        """
        self._thread.call(self._provider.wait_running, timeout=timeout)

    def statistics(self) -> ProviderStatistics:
        """Its state and counts."""
        return self._thread.call_now(self._provider.statistics)

    def close(self) -> None:
        """Take no more blocks. Idempotent."""
        with suppress(FlowClosedError):
            self._thread.call_now(self._provider.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlockingConsumer:
    """The end of a flow that takes its blocks; see `Consumer`. Time-outs are in seconds."""

    def __init__(self, thread: "_Thread", consumer: Consumer) -> None:
        self._thread = thread
        self._consumer = consumer

    def receive(self, *, timeout: float | None = None) -> Block:
        """The next block. Give it back by leaving it as a context.

        Raises:
            TimeoutError: none has come in time.
            FlowClosedError, FlowConversionError: see `Consumer.receive`.
        """
        return self._thread.call(self._consumer.receive, timeout=timeout)

    def __iter__(self) -> Iterator[Block]:
        with suppress(FlowClosedError):
            while True:
                yield self.receive()

    def stop(self) -> None:
        """Stop the providers, for all their consumers; see `Consumer.stop`."""
        self._thread.call(self._consumer.stop)

    def start(self) -> None:
        """Undo that; see `Consumer.start`."""
        self._thread.call(self._consumer.start)

    def latest(self, at: int | None = None, *, key: FlowKey | None = None) -> Block | None:
        """The latest block with a timestamp at or before that; see `Consumer.latest`."""
        return self._thread.call(partial(self._consumer.latest, at, key=key))

    def between(
        self, first: int, last: int, *, limit: int = 64, key: FlowKey | None = None
    ) -> list[Block]:
        """Blocks with timestamps within these two; see `Consumer.between`."""
        return self._thread.call(partial(self._consumer.between, first, last, limit=limit, key=key))

    def statistics(self) -> ConsumerStatistics:
        """Its counts."""
        return self._thread.call_now(self._consumer.statistics)

    def close(self) -> None:
        """Take no more. Idempotent."""
        with suppress(FlowClosedError):
            self._thread.call_now(self._consumer.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Thread:
    """Runs trio with a client, and has things done there."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[FlowClient]]) -> None:
        self.client: FlowClient
        self._opening = opening
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._to_end = False
        self._settled = threading.Event()  # it runs, or has failed
        self._failure: BaseException | None = None
        # A daemon: if the interpreter ends without sf_exit, it is not to wait for this thread.
        self._thread = threading.Thread(target=self._run, name="eventgraph flows", daemon=True)
        self._thread.start()
        self._wait_settled()
        atexit.register(self.close)

    def _wait_settled(self) -> None:
        try:
            self._settled.wait()
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = error
        finally:
            self._settled.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._to_end:
            return
        with self._scope:
            async with self._opening() as self.client:
                self._settled.set()
                await trio.sleep_forever()

    @property
    def over(self) -> bool:
        """Whether it takes part no more."""
        return not self._thread.is_alive()

    def call(
        self,
        function: Callable[..., Awaitable[T]],
        *arguments: object,
        timeout: float | None = None,
    ) -> T:
        """Have something done, and wait for it.

        Raises:
            TimeoutError: it takes longer than so many seconds.
            FlowClosedError: this program takes part no more.
        """
        scope = trio.CancelScope()

        async def run() -> T:
            with scope, trio.move_on_after(math.inf if timeout is None else timeout):
                return await function(*arguments)
            raise TimeoutError(f"not within {timeout} s")

        try:
            return trio.from_thread.run(run, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise self._closed() from None
        except KeyboardInterrupt:
            self.say(scope.cancel)  # nobody waits for it any more
            raise

    def call_now(self, function: Callable[..., T], *arguments: object) -> T:
        """The same, of what does not wait."""
        try:
            return trio.from_thread.run_sync(function, *arguments, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise self._closed() from None

    def say(self, function: Callable[[], object]) -> None:
        """Have something done, without waiting for it."""
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function)

    def _closed(self) -> FlowClosedError:
        self._thread.join(END_TIMEOUT)
        reason = f": {self._failure}" if self._failure is not None else ""
        return FlowClosedError(f"this program takes part in no flows any more{reason}")

    def close(self) -> None:
        """End it. Idempotent."""
        atexit.unregister(self.close)
        self._to_end = True
        self.say(self._scope.cancel)
        self._thread.join(END_TIMEOUT)
