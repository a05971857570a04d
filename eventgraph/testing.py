"""For tests of one's own nodes: no real time, no guessing when it is over.

    from eventgraph.testing import Probe, run, wait_idle

* ``Probe``: a node that records every call to its hooks.
* ``wait_idle``: goes on when every event has been handled.
* ``run``: like ``trio.run``, on a virtual clock: sleeping takes no time. Under pytest-trio
  the fixture ``autojump_clock`` does the same.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

from eventgraph.delegate import NodeDelegate
from eventgraph.event import Event
from eventgraph.graph import Graph
from eventgraph.node import Node

T = TypeVar("T")

POLL = 0.001  # seconds, of a clock that is usually virtual


class Probe(Node):
    """A node that records: ``calls`` has the hooks in order, ``events`` what came."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.calls: list[str] = []
        self.events: list[Event] = []
        self.links_up: list[tuple[int, str, str]] = []
        self.links_down: list[tuple[int, str, str]] = []
        self.delegate: NodeDelegate

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.calls.append("on_enter")
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.calls.append("on_event")
        self.events.append(event)

    def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        self.calls.append("on_link_up")
        self.links_up.append((link_id, scope, name))

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        self.calls.append("on_link_down")
        self.links_down.append((link_id, scope, name))

    def on_exit(self) -> None:
        self.calls.append("on_exit")


async def wait_idle(graph: Graph, *, timeout: float = 60.0) -> None:
    """Wait until no event waits and no hook runs, nor anything else that could go on.

    Args:
        timeout: seconds, of the clock in use.
    Raises:
        TimeoutError: the graph was busy all the time; names the nodes that were.
    """
    deadline = trio.current_time() + timeout
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if graph.idle:
            return
        if trio.current_time() >= deadline:
            raise TimeoutError(f"not idle after {timeout} s: {', '.join(map(str, graph.busy))}")
        await trio.sleep(POLL)


def run(async_function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run an async function to its end on a clock that jumps over every sleep."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(async_function, *args, clock=clock)
