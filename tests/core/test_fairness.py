"""A flood through the graph starves neither sockets and timers, nor other nodes."""

import time

import pytest
import trio

from eventgraph import Event, Graph, Node, NodeDelegate
from eventgraph.testing import Probe, wait_idle

pytestmark = pytest.mark.alone


class Player(Node):
    """Sends back whatever comes, at full speed."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.played = 0

    def on_event(self, event: Event) -> None:
        self.played += 1
        self.delegate.broadcast(event)


async def test_timers_keep_firing_while_two_nodes_play_ping_pong_at_full_speed() -> None:
    async with Graph(exit_timeout=0) as graph:
        ping, pong = Player("s", "ping"), Player("s", "pong")
        a, b = graph.add_node(ping), graph.add_node(pong)
        a.request_link_up("s", "pong")
        b.request_link_up("s", "ping")
        for _ in range(100):
            a.deliver_self(Event(1))
        late = []
        for _ in range(50):
            wanted = trio.current_time() + 0.01
            await trio.sleep_until(wanted)
            late.append(trio.current_time() - wanted)
        assert ping.played > 1000
        assert sorted(late)[25] < 0.05  # a slice is 1 ms; 50 times wider
        assert max(late) < 1


async def test_sockets_are_served_during_a_flood() -> None:
    async with Graph(exit_timeout=0) as graph:
        player = graph.add_node(Player("s", "player"))
        player.request_link_up("s", "player")
        for _ in range(100):
            player.deliver_self(Event(1))
        left, right = trio.socket.socketpair()
        with left, right, trio.fail_after(10):
            for _ in range(100):
                await left.send(b"x")
                assert await right.recv(1) == b"x"


class Slow(Probe):
    """Takes 5 ms of CPU for each event."""

    def on_event(self, event: Event) -> None:
        until = time.perf_counter() + 0.005
        while time.perf_counter() < until:
            pass


class SlowTask(Slow):
    async def on_exit(self) -> None:  # type: ignore[override]  # makes it a task node
        pass


@pytest.mark.parametrize("kind", [Slow, SlowTask])
async def test_slow_handlers_get_shorter_turns(kind: type[Slow]) -> None:
    """64 events of 5 ms each are not one stop of 320 ms."""
    async with Graph() as graph:
        node = graph.add_node(kind("s", "slow"))
        for _ in range(120):
            node.deliver_self(Event(1))
        gaps, before = [], trio.current_time()
        while not graph.idle:
            await trio.lowlevel.checkpoint()
            gaps.append(trio.current_time() - before)
            before = trio.current_time()
        assert len([gap for gap in gaps if gap > 0.1]) <= 3  # the first turns find it out


async def test_node_with_a_full_channel_does_not_starve_another() -> None:
    class Forever(Probe):
        """Always has a full channel, by its own doing."""

        def on_event(self, event: Event) -> None:
            self.delegate.deliver_self(event)

    async with Graph(exit_timeout=0) as graph:
        full = graph.add_node(Forever("s", "full"))
        while full.deliver_self(Event(0)):
            pass
        other = Probe("s", "other")
        node = graph.add_node(other)
        with trio.fail_after(10):
            for cmd in range(50):
                node.deliver_self(Event(cmd))
                while len(other.events) <= cmd:
                    await trio.lowlevel.checkpoint()


async def test_async_node_that_never_waits_starves_nobody() -> None:
    class Greedy(Node):
        def on_enter(self, delegate: NodeDelegate) -> None:
            self.delegate = delegate

        async def on_event(self, event: Event) -> None:
            self.delegate.deliver_self(event)

    async with Graph(exit_timeout=0) as graph:
        graph.add_node(Greedy("s", "greedy")).deliver_self(Event(1))
        other = Probe("s", "other")
        graph.add_node(other).deliver_self(Event(1))
        with trio.fail_after(10):
            await trio.sleep(0.02)
        assert len(other.events) == 1


async def test_link_storm_in_a_hook_starves_nobody() -> None:
    class Restless(Probe):
        """Links and unlinks itself for ever in its own control hook."""

        def on_link_down(self, link_id: int, scope: str, name: str) -> None:
            self.delegate.request_link_down(self.delegate.request_link_up(scope, name))

    async with Graph(exit_timeout=0) as graph:
        node = graph.add_node(Restless("s", "restless"))
        node.request_link_down(node.request_link_up("s", "restless"))
        with trio.fail_after(10):
            await trio.sleep(0.02)
        node.request_exit()
        with trio.fail_after(10):
            await node.wait_exited()


async def test_idle_graph_uses_no_cpu() -> None:
    async with Graph() as graph:
        for i in range(100):
            graph.add_node(Probe("s", str(i)))
        await wait_idle(graph)
        before = time.process_time()
        await trio.sleep(0.3)
        assert time.process_time() - before < 0.1
