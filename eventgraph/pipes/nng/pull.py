"""The pull end of the nng transport."""

from collections import deque
from collections.abc import Callable

import trio

from eventgraph.parking import ParkedTask
from eventgraph.pipes.nng.means import Means, closed
from eventgraph.pipes.nng.source import Source
from eventgraph.pipes.transport import Pull
from eventgraph.pipes.url import dial_url


class SpPull(Pull):
    """Each connection reads about one message ahead; cancelling `receive` loses none.

    One task receives at a time: a second one gets trio.BusyResourceError.
    """

    def __init__(self, means: Means, on_change: Callable[[], None]) -> None:
        self._means = means
        self._on_change = on_change
        self._closed = False
        self._sources: dict[str, Source] = {}
        self._ready: deque[Source] = deque()  # that have messages, in turn
        self._receiving = False
        self._receiver = ParkedTask()

    def dial(self, url: str) -> None:
        if self._closed:
            raise closed()
        if url not in self._sources:
            target = dial_url(url, self._means.schemes)
            self._sources[url] = Source(target, self._means, self._arrived, self._changed)

    def hang_up(self, url: str) -> None:
        if (source := self._sources.pop(url, None)) is not None:
            source.close()
            if source in self._ready:
                self._ready.remove(source)

    @property
    def connections(self) -> int:
        return sum(source.connected for source in self._sources.values())

    async def receive(self) -> memoryview:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receiving:
            raise trio.BusyResourceError("another task receives already")
        self._receiving = True
        try:
            if self._ready:
                await trio.lowlevel.cancel_shielded_checkpoint()
            while not self._ready and not self._closed:
                await self._receiver.park()
        finally:
            self._receiving = False
        if self._closed:
            raise closed()
        source = self._ready.popleft()
        message = source.take()
        if source:
            self._ready.append(source)
        return message

    def _arrived(self, source: Source) -> None:
        self._ready.append(source)
        self._receiver.unpark()

    def _changed(self) -> None:
        if not self._closed:
            self._on_change()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            for source in self._sources.values():
                source.close()
            self._sources.clear()
            self._ready.clear()
            self._receiver.unpark()
