"""The graph as it changes: one snapshot at a time, encoded once, sent to all who watch.

Nobody watches: nothing is done. A watcher that is slow misses snapshots, for each one holds
all there is; there is no queue that could grow. Snapshots come less often if they are large,
so that what one watcher is sent stays below `BYTES_PER_SECOND`. Crashes are apart, with
their tracebacks: they may weigh more than the graph, and seldom change.

Source: WHATWG HTML §9.2 (server-sent events).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
import trio
from msgspec.structs import replace
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from eventgraph import Graph, GraphSnapshot, views

from .problem import problem

INTERVAL: Final = 1.0
"""Seconds between two snapshots: rates are read off their differences."""

BYTES_PER_SECOND: Final = 1_000_000
"""To one watcher, at most: beyond it the interval grows."""

MAX_WATCHERS: Final = 16
"""At a time: each may be a page of an operator, left open."""

KEEP_ALIVE: Final = 10.0
"""Seconds without a change after which a comment is sent, so that both sides know."""

LARGE: Final = 200
"""Nodes and links from which on it is encoded beside the event loop: about 0.5 ms."""


class Frame(NamedTuple):
    """What all watchers are sent.

    Attributes:
        number: goes up with each that differs from the one before.
        graph: an event, as it goes over the wire.
        crash_count: which crashes stand in `crashes`.
        crashes: an event.
    """

    number: int
    graph: bytes
    crash_count: int
    crashes: bytes


class LiveGraph:
    """Takes the snapshots, as long as `run` runs and somebody watches."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._watchers = 0
        self._wanted = trio.Event()
        self._changed = trio.Event()
        self._frame: Frame | None = None
        self._closed = False
        self._settled = False

    async def run(self) -> None:
        """Until cancelled; then every watcher's answer ends."""
        try:
            while True:
                if not self._watchers:
                    self._frame = None
                    self._wanted = trio.Event()
                    await self._wanted.wait()
                started = trio.current_time()
                before, self._frame = self._frame, await self._next_frame()
                if self._frame is not before:
                    self._changed.set()
                    self._changed = trio.Event()
                size = len(self._frame.graph)
                await trio.sleep_until(started + max(INTERVAL, size / BYTES_PER_SECOND))
        finally:
            self._closed = True
            self._changed.set()

    def answer(self) -> Response:
        """An endless answer for one more watcher; a problem if there are too many."""
        if self._watchers >= MAX_WATCHERS:
            detail = f"{MAX_WATCHERS} watch already; close one of them, or GET /graph"
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "10"})
        return EventStream(self)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a watcher in."""
        self._watchers += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._watchers -= 1

    async def next_after(self, seen: Frame | None) -> Frame | None:
        """The newest frame, once there is one that is not `seen`; None: it is over."""
        while not self._closed:
            if self._frame is not None and self._frame is not seen:
                return self._frame
            await self._changed.wait()
        return None

    async def _next_frame(self) -> Frame:
        before, snapshot = self._frame, self._graph.snapshot()
        now = int(trio.current_time() * 1000)
        small = replace(snapshot, crashes=[])
        if len(snapshot.nodes) + len(snapshot.links) < LARGE:
            body = views.to_json(small)
        else:
            body = await trio.to_thread.run_sync(views.to_json, small)
        same = before is None or _body(before.graph) == body
        if before is not None and same and self._settled:
            return before
        self._settled = same  # once more after a change: the rates come back to zero
        crashes = _encode_crashes(snapshot, before)
        number = before.number + 1 if before is not None else 0
        return Frame(number, _event("graph", now, body), snapshot.crash_count, crashes)


class EventStream(Response):
    """An answer that goes on as long as the graph, or the client."""

    media_type = "text/event-stream"

    def __init__(self, live: LiveGraph) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with self._live.watching():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
                await send(start)
                await self._send_frames(send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()

    async def _send_frames(self, send: Send) -> None:
        seen: Frame | None = None
        while True:
            body = b": still here\n\n"
            with trio.move_on_after(KEEP_ALIVE):
                frame = await self._live.next_after(seen)
                if frame is None:
                    return
                body = frame.graph
                if seen is None or seen.crash_count != frame.crash_count:
                    body = frame.crashes + body
                seen = frame
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _encode_crashes(snapshot: GraphSnapshot, before: Frame | None) -> bytes:
    if before is not None and before.crash_count == snapshot.crash_count:
        return before.crashes
    alone = msgspec.json.decode(views.to_json(replace(snapshot, nodes=[], links=[])))
    text = msgspec.json.encode(alone["crashes"])
    return _event("crashes", snapshot.crash_count, text)


def _event(name: str, number: int, data: bytes) -> bytes:
    """JSON has no bare line break, so that one data line holds it."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, data)


def _body(event: bytes) -> bytes:
    return event.partition(b"\ndata: ")[2][:-2]
