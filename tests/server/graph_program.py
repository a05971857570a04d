"""A graph to look at, served in a process of its own; prints its URL, ends with its input.

room:  clock --> meter        the clock ticks 50 times a second
       bomb                   crashes at its first event
farm:  n0 --> n1, n2 ...      as many nodes as the first argument says
"""

import sys
from functools import partial

import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from rtp.server.config import HttpConfig
from rtp.server.http import serve_http


class Clock(Node):
    """Tells everyone that it links to."""

    max_links = 64

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.delegate.broadcast(event)


class Meter(Node):
    """Counts."""


class Bomb(Node):
    """Does not like events."""

    def on_event(self, event: Event) -> None:
        raise ValueError("no event is welcome here")


async def tick(delegates: list[NodeDelegate]) -> None:
    """50 times a second, for ever."""
    while True:
        for delegate in delegates:
            delegate.deliver_self(Event(1))
        await trio.sleep(0.02)


async def main(farm: int) -> None:
    """Until standard input ends."""
    async with Graph() as graph, trio.open_nursery() as nursery:
        clock = graph.add_node(Clock("room", "clock"))
        graph.add_node(Meter("room", "meter"))
        graph.add_node(Bomb("room", "bomb"))
        clock.request_link_up("room", "meter")
        roots = [clock]
        before: list[Address] = []
        for number in range(farm):
            scope = f"farm-{number // 25}"
            name = f"n{number}"
            delegate = graph.add_node(Clock(scope, name))
            if number % 25:
                graph.link_up(before[(number % 25 - 1) // 3], delegate.address)
            else:
                before = []
                roots.append(delegate)
            before.append(delegate.address)
        nursery.start_soon(tick, roots)
        print(await nursery.start(partial(serve_http, graph, HttpConfig(port=0))), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
