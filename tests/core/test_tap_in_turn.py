"""Taps and tracers that the node itself opens and closes, in its own turn and in any order."""

from contextlib import AbstractContextManager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.listening import is_heard
from eventgraph.runner import Runner
from eventgraph.testing import run, wait_idle

OPEN, CLOSE, ITSELF = range(3)


class Fiddling(Node):
    """Opens, closes and delivers, as it is told."""

    def __init__(self, graph: Graph) -> None:
        super().__init__("test", "node")
        self.graph = graph
        self.open: list[AbstractContextManager[Any]] = []
        self.got: list[int] = []

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.got.append(event.cmd)
        what, which = event.obj or (None, 0)
        own = Address("test", "node")
        if what == OPEN:
            found = (self.graph.tap if which % 2 else self.graph.trace_node)(own, interval=0)
            self.open.append(found.__enter__())
        elif what == CLOSE and self.open:
            self.open.pop(which % len(self.open)).__exit__(None, None, None)
        elif what == ITSELF:
            self.delegate.deliver_self(Event(-event.cmd))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=40), st.integers(1, 10))
def test_taps_of_the_node_s_own_turn_lose_nothing(acts: list[tuple[int, int]], batch: int) -> None:
    async def main() -> None:
        async with Graph() as graph:
            node = Fiddling(graph)
            graph.add_node(node)
            source = graph.add_node(Node("test", "source"))
            link = source.request_link_up("test", "node")
            for number, act in enumerate(acts, 1):
                assert source.deliver(link, Event(number, act))
                if not number % batch:
                    await wait_idle(graph)
            await wait_idle(graph)
            assert [cmd for cmd in node.got if cmd > 0] == list(range(1, len(acts) + 1))
            own = [number for number, (what, _) in enumerate(acts, 1) if what == ITSELF]
            assert [-cmd for cmd in node.got if cmd < 0] == own
            while node.open:
                node.open.pop().__exit__(None, None, None)
            runner = graph.runtime.topology.find(Address("test", "node"))
            assert isinstance(runner, Runner)
            assert not is_heard(runner)
            assert not runner._wrappers

    run(main)
