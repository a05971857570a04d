"""Feed: what changes, sent to all who watch as server-sent events.

One frame at a time, made once for everybody. Nobody watches: nothing is done. A watcher that
is slow misses frames, for each one holds all there is; there is no queue that could grow.
Large frames come less often, so that what one watcher is sent stays below `BYTES_PER_SECOND`.

Source: WHATWG HTML §9.2 (server-sent events).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .problem import busy

BYTES_PER_SECOND: Final = 1_000_000
"""To one watcher, at most: beyond it the interval grows."""

KEEP_ALIVE: Final = 10.0
"""Seconds without a change after which a comment is sent, so that both sides know."""

F = TypeVar("F")


class Feed(ABC, Generic[F]):
    """Makes the frames, as long as `run` runs and somebody watches."""

    interval: float
    """Seconds between two frames."""
    max_watchers: int
    """At a time."""

    def __init__(self) -> None:
        self._watchers = 0
        self._wanted = trio.Event()
        self._changed = trio.Event()
        self._frame: F | None = None
        self._closed = False

    @abstractmethod
    async def make(self, before: F | None) -> F:
        """The frame of now; `before` itself if nothing has changed."""

    @abstractmethod
    def size(self, frame: F) -> int:
        """Bytes that a watcher is sent of it, about."""

    async def run(self) -> None:
        """Until cancelled; then every watcher's answer ends."""
        try:
            while True:
                if not self._watchers:
                    self._frame = None
                    self._wanted = trio.Event()
                    await self._wanted.wait()
                started = trio.current_time()
                before, self._frame = self._frame, await self.make(self._frame)
                if self._frame is not before:
                    self._changed.set()
                    self._changed = trio.Event()
                pause = max(self.interval, self.size(self._frame) / BYTES_PER_SECOND)
                await trio.sleep_until(started + pause)
        finally:
            self._closed = True
            self._changed.set()

    def answer(self, render: Callable[[F | None, F], bytes]) -> Response:
        """An endless answer for one more watcher; a problem if there are too many.

        Args:
            render: the events for a watcher that has seen the first and is now shown the
                second; b"" if they are the same to it.
        """
        if self._watchers >= self.max_watchers:
            return busy(f"{self.max_watchers} watch already; close one of them", retry_after=10)
        return _EventStream(self, render)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a watcher in."""
        self._watchers += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._watchers -= 1

    async def next_after(self, seen: F | None) -> F | None:
        """The newest frame, once there is one that is not `seen`; None: it is over."""
        while not self._closed:
            if self._frame is not None and self._frame is not seen:
                return self._frame
            await self._changed.wait()
        return None


class _EventStream(Response, Generic[F]):
    """An answer that goes on as long as the feed, or the client."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed[F], render: Callable[[F | None, F], bytes]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._render_events = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        with self._feed.watching():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
                await send(start)
                await self._send_frames(send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

    async def _send_frames(self, send: Send) -> None:
        seen: F | None = None
        while True:
            body = b""
            with trio.move_on_after(KEEP_ALIVE):
                while not body:
                    frame = await self._feed.next_after(seen)
                    if frame is None:
                        return
                    body = self._render_events(seen, frame)
                    seen = frame
            body = body or b": still here\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def event(name: str, number: int, data: bytes) -> bytes:
    """One event; JSON has no bare line break, so that one data line holds it."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, data)
