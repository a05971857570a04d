"""The graph as it changes: a feed of its snapshots.

Crashes are apart, with their tracebacks: they may weigh more than the graph, and seldom change.
"""

from typing import Final, NamedTuple

import msgspec
import trio
from msgspec.structs import replace

from eventgraph import Graph, GraphSnapshot, views
from eventgraph.slices import in_slices

from .feed import Feed, event

LARGE: Final = 200
"""Nodes and links from which on it is encoded beside the event loop: about 0.5 ms."""


class Frame(NamedTuple):
    """What all watchers are sent.

    Attributes:
        number: goes up with each that differs from the one before.
        body: the graph in JSON.
        graph: an event with it.
        crash_count: which crashes stand in `crashes`.
        crashes: an event.
    """

    number: int
    body: bytes
    graph: bytes
    crash_count: int
    crashes: bytes


class LiveGraph(Feed[Frame]):
    """Snapshots of a graph; rates are read off their differences."""

    interval = 1.0
    max_watchers = 16  # each may be a page of an operator, left open

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._settled = False

    async def make(self, before: Frame | None) -> Frame:
        snapshot = await in_slices(self._graph.snapshot_steps())
        now = int(trio.current_time() * 1000)
        small = replace(snapshot, crashes=[])
        if len(snapshot.nodes) + len(snapshot.links) < LARGE:
            body = views.to_json(small)
        else:
            body = await trio.to_thread.run_sync(views.to_json, small)
        same = before is None or before.body == body
        if before is not None and same and self._settled:
            return before
        self._settled = same  # once more after a change: the rates come back to zero
        crashes = _encode_crashes(snapshot, before)
        number = before.number + 1 if before is not None else 0
        return Frame(number, body, event("graph", now, body), snapshot.crash_count, crashes)

    def size(self, frame: Frame) -> int:
        return len(frame.body)


def render(seen: Frame | None, frame: Frame) -> bytes:
    """What a watcher of the graph is sent."""
    if seen is None or seen.crash_count != frame.crash_count:
        return frame.crashes + frame.graph
    return frame.graph


def _encode_crashes(snapshot: GraphSnapshot, before: Frame | None) -> bytes:
    if before is not None and before.crash_count == snapshot.crash_count:
        return before.crashes
    alone = msgspec.json.decode(views.to_json(replace(snapshot, nodes=[], links=[])))
    return event("crashes", snapshot.crash_count, msgspec.json.encode(alone["crashes"]))
