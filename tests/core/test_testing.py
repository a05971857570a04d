"""The kit for tests of one's own nodes."""

import time

import pytest
import trio

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, run, wait_idle


class Sleepy(Node):
    async def on_event(self, event: Event) -> None:
        await trio.sleep(event.cmd)


def test_run_takes_no_real_time() -> None:
    async def main() -> float:
        async with Graph(exit_timeout=10_000) as graph:
            graph.add_node(Sleepy("s", "a")).deliver_self(Event(3600))
        return trio.current_time()

    start = time.perf_counter()
    assert run(main) >= 3600
    assert time.perf_counter() - start < 10


async def test_wait_idle_waits_for_async_hooks(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        node = graph.add_node(Sleepy("s", "a"))
        for _ in range(3):
            node.deliver_self(Event(2))
        await wait_idle(graph)
        assert trio.current_time() == pytest.approx(6, abs=0.1)
        assert graph.snapshot().totals.handled == 3


async def test_wait_idle_names_who_is_busy(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph(exit_timeout=0) as graph:
        graph.add_node(Sleepy("s", "dozing")).deliver_self(Event(100))
        graph.add_node(Probe("s", "done"))
        with pytest.raises(TimeoutError, match="dozing@s") as caught:
            await wait_idle(graph, timeout=5)
        assert "done@s" not in str(caught.value)
