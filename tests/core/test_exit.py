"""Exit: drains, frees the address, tells every sender; and leaving the whole graph."""

import gc
import logging
import weakref

import pytest
import trio
import trio.testing

from eventgraph import (
    Event,
    Graph,
    GraphClosedError,
    Node,
    NodeDelegate,
    NodeExistsError,
    NodeState,
)
from eventgraph.testing import Probe, wait_idle


async def test_exit_handles_every_event_accepted_before() -> None:
    async with Graph() as graph:
        probe, source = Probe("s", "a"), Probe("s", "b")
        node, sender = graph.add_node(probe), graph.add_node(source)
        link = sender.request_link_up("s", "a")
        for cmd in range(100):
            assert sender.deliver(link, Event(cmd))
        node.request_exit()
        node.request_exit()
        assert not sender.deliver(link, Event(100))
        assert not node.deliver_self(Event(101))
        await node.wait_exited()
        assert [e.cmd for e in probe.events] == list(range(100))
        assert probe.calls[-1] == "on_exit"
        assert probe.calls.count("on_exit") == 1
        assert source.links_down == [(link, "s", "a")]
        assert node.state is NodeState.EXITED


async def test_output_links_stand_until_on_exit_has_returned() -> None:
    class Last(Probe):
        def on_event(self, event: Event) -> None:
            assert self.delegate.broadcast(event) == 1

        def on_exit(self) -> None:
            super().on_exit()
            assert self.delegate.broadcast(Event(99)) == 1

    async with Graph() as graph:
        receiver = Probe("s", "receiver")
        graph.add_node(receiver)
        probe = Last("s", "last")
        node = graph.add_node(probe)
        node.request_link_up("s", "receiver")
        node.deliver_self(Event(1))
        node.request_exit()
        await node.wait_exited()
        await wait_idle(graph)
        assert [e.cmd for e in receiver.events] == [1, 99]
        assert probe.links_down == []  # after on_exit nothing is called


async def test_address_is_free_after_wait_exited_and_not_before() -> None:
    async with Graph() as graph:
        node = graph.add_node(Probe("s", "a"))
        with pytest.raises(NodeExistsError, match="a@s"):
            graph.add_node(Probe("s", "a"))
        node.request_exit()
        with pytest.raises(NodeExistsError):
            graph.add_node(Probe("s", "a"))
        await node.wait_exited()
        again = graph.add_node(Probe("s", "a"))
        assert again.state is NodeState.ENTERING
        await node.wait_exited()  # still true, still no error


async def test_node_exits_itself_in_its_own_on_event() -> None:
    class Leaver(Probe):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            self.delegate.request_exit()

    async with Graph() as graph:
        probe = Leaver("s", "a")
        node = graph.add_node(probe)
        for cmd in range(3):
            node.deliver_self(Event(cmd))
        await node.wait_exited()
        assert probe.calls == ["on_enter", "on_event", "on_event", "on_event", "on_exit"]


async def test_exit_asked_for_before_on_enter_still_enters_first() -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        node = graph.add_node(probe)
        node.request_exit()
        await node.wait_exited()
        assert probe.calls == ["on_enter", "on_exit"]


async def test_leaving_the_graph_drains_in_the_direction_of_the_links() -> None:
    class Forwarder(Probe):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            self.delegate.broadcast(event)

    probes = [Forwarder("s", name) for name in "abcde"]
    async with Graph() as graph:
        nodes = [graph.add_node(probe) for probe in reversed(probes)][::-1]
        for node, receiver in zip(nodes, probes[1:], strict=False):
            node.request_link_up("s", receiver.name)
        nodes[3].request_link_up("s", "c")  # c and d are a cycle
        nodes[1].request_link_up("s", "b")  # b is linked to itself
        for cmd in range(50):
            nodes[0].deliver_self(Event(cmd))
    assert [e.cmd for e in probes[1].events][:50] == list(range(50))
    assert [e.cmd for e in probes[2].events][:50] == list(range(50))
    assert all(probe.calls[-1] == "on_exit" for probe in probes)
    totals = graph.snapshot().totals
    assert totals.queued == 0
    assert totals.offered == totals.handled + sum(totals.dropped.values())


async def test_long_chain_leaves_without_losing_an_event() -> None:
    class Forwarder(Probe):
        def on_event(self, event: Event) -> None:
            self.delegate.broadcast(event)

    last = Probe("s", "1999")
    async with Graph() as graph:
        nodes = [graph.add_node(Forwarder("s", str(i))) for i in range(1999)]
        graph.add_node(last)
        for i, node in enumerate(nodes):
            node.request_link_up("s", str(i + 1))
        for cmd in range(10):
            nodes[0].deliver_self(Event(cmd))
    assert [e.cmd for e in last.events] == list(range(10))


async def test_graph_refuses_nodes_before_and_after() -> None:
    graph = Graph()
    with pytest.raises(GraphClosedError):
        graph.add_node(Probe("s", "a"))
    async with graph:
        graph.add_node(Probe("s", "a"))
    with pytest.raises(GraphClosedError):
        graph.add_node(Probe("s", "b"))
    with pytest.raises(GraphClosedError):
        await graph.__aenter__()


async def test_graph_that_is_closing_refuses_nodes() -> None:
    refused: list[bool] = []

    class Adder(Probe):
        def on_exit(self) -> None:
            try:
                graph.add_node(Probe("s", "late"))
            except GraphClosedError:
                refused.append(True)

    async with Graph() as graph:
        graph.add_node(Adder("s", "a"))
    assert refused == [True]


class Stuck(Node):
    """Never returns from its first event."""

    def __init__(self, name: str) -> None:
        super().__init__("s", name)
        self.calls: list[str] = []

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    async def on_event(self, event: Event) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.calls.append("cancelled")
            raise

    async def on_exit(self) -> None:
        await trio.sleep(0.1)
        self.calls.append("exited")


async def test_stuck_hook_is_cancelled_and_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, follower = Stuck("stuck"), Probe("s", "follower")
    async with Graph(exit_timeout=2) as graph:
        node = graph.add_node(stuck)
        graph.add_node(follower)
        node.request_link_up("s", "follower")
        for cmd in range(3):
            node.deliver_self(Event(cmd))
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(2.1)
    assert stuck.calls == ["cancelled", "exited"]
    assert follower.calls == ["on_enter", "on_exit"]
    (record,) = caplog.records
    assert "stuck@s" in record.getMessage()
    assert "on_event" in record.getMessage()
    assert graph.snapshot().totals.dropped == {"cancelled": 2}


async def test_on_exit_that_does_not_return_is_cancelled_and_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Clinging(Node):
        async def on_exit(self) -> None:
            await trio.sleep_forever()

    async with Graph(exit_timeout=1) as graph:
        node = graph.add_node(Clinging("s", "clinging"))
        node.request_exit()
        start = trio.current_time()
        await node.wait_exited()
        assert trio.current_time() - start == pytest.approx(1)
    assert "clinging@s" in caplog.text


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [KeyError(1)])])
async def test_exception_in_the_body_drains_nothing_and_leaves_as_it_is(
    error: Exception, autojump_clock: trio.testing.MockClock
) -> None:
    probe, stuck = Probe("s", "a"), Stuck("stuck")
    with pytest.raises(type(error)) as caught:
        async with Graph() as graph:
            node, hanging = graph.add_node(probe), graph.add_node(stuck)
            hanging.deliver_self(Event(0))
            await trio.testing.wait_all_tasks_blocked()
            node.deliver_self(Event(1))
            raise error
    assert caught.value is error
    assert probe.calls == ["on_enter", "on_exit"]
    assert stuck.calls == ["cancelled", "exited"]
    assert graph.snapshot().totals.dropped == {"cancelled": 1}


async def test_node_added_just_before_the_body_raises_enters_and_exits() -> None:
    probe = Probe("s", "a")
    with pytest.raises(KeyError):
        async with Graph() as graph:
            graph.add_node(probe)
            raise KeyError
    assert probe.calls == ["on_enter", "on_exit"]


async def test_cancelled_body_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    probe, stuck = Probe("s", "a"), Stuck("stuck")
    with trio.move_on_after(1) as scope:
        async with Graph() as graph:
            node, hanging = graph.add_node(probe), graph.add_node(stuck)
            hanging.deliver_self(Event(0))
            node.deliver_self(Event(1))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert probe.calls == ["on_enter", "on_event", "on_exit"]
    assert stuck.calls == ["cancelled", "exited"]
    assert len(graph.snapshot().nodes) == 0


async def test_cancelled_while_draining(autojump_clock: trio.testing.MockClock) -> None:
    stuck = Stuck("stuck")
    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        async with Graph(exit_timeout=100) as graph:
            graph.add_node(stuck).deliver_self(Event(0))
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(1.1)
    assert stuck.calls == ["cancelled", "exited"]


async def test_nothing_is_left_running() -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with Graph() as graph:
        for i in range(50):
            graph.add_node(Stuck(f"async-{i}"))
            graph.add_node(Probe("s", f"plain-{i}"))
        await wait_idle(graph)
        assert tasks() == before + 51
    assert tasks() == before


async def test_a_task_node_that_is_done_leaves_no_task() -> None:
    async with Graph() as graph:
        before = trio.lowlevel.current_statistics().tasks_living
        node = graph.add_node(Stuck("a"))
        node.request_exit()
        await node.wait_exited()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_orderly_exit_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Graph() as graph:
        graph.add_node(Probe("s", "a")).deliver_self(Event(1))
    assert caplog.records == []


class Linker(Probe):
    """Links and delivers as soon as it has entered."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        super().on_enter(delegate)
        delegate.deliver(delegate.request_link_up("s", "receiver"), Event(7))


class SlowLinker(Linker):
    async def on_enter(self, delegate: NodeDelegate) -> None:  # type: ignore[override]  # either
        await trio.sleep(0.5)
        super().on_enter(delegate)


@pytest.mark.parametrize("kind", [Linker, SlowLinker])
@pytest.mark.parametrize("receiver_first", [True, False])
async def test_graph_that_is_left_at_once_lets_its_nodes_enter_first(
    kind: type[Linker], receiver_first: bool, autojump_clock: trio.testing.MockClock
) -> None:
    receiver = Probe("s", "receiver")
    nodes = [receiver, kind("s", "linker")]
    async with Graph() as graph:
        for node in nodes if receiver_first else reversed(nodes):
            graph.add_node(node)
    assert [e.cmd for e in receiver.events] == [7]
    assert graph.snapshot().crash_count == 0


async def test_cancelled_body_may_still_wait_for_nodes_in_its_cleanup() -> None:
    for cleaning_up in (Probe("s", "a"), Stuck("a")):
        with trio.move_on_after(0.01):
            async with Graph() as graph:
                node = graph.add_node(cleaning_up)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True), trio.fail_after(10):
                        node.request_exit()
                        await node.wait_exited()
        assert node.state is NodeState.EXITED


async def test_only_those_that_hold_the_exit_up_are_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Idle(Node):
        async def on_event(self, event: Event) -> None:
            pass

    async with Graph(exit_timeout=0) as graph:
        first = graph.add_node(Stuck("first"))
        graph.add_node(Stuck("second")).deliver_self(Event(1))
        graph.add_node(Idle("s", "idle-task"))
        graph.add_node(Probe("s", "idle-plain"))
        first.request_link_up("s", "second")
        first.deliver_self(Event(1))
        await trio.testing.wait_all_tasks_blocked()
    named = [r.getMessage().split()[1] for r in caplog.records if "held up" in r.getMessage()]
    assert sorted(named) == ["first@s", "second@s"]


async def test_task_node_lets_go_of_the_last_event() -> None:
    class Frame:
        pass

    class Sink(Node):
        async def on_event(self, event: Event) -> None:
            pass

    async with Graph() as graph:
        node = graph.add_node(Sink("s", "a"))
        frame = Frame()
        gone = weakref.ref(frame)
        node.deliver_self(Event(1, frame))
        del frame
        await wait_idle(graph)
        gc.collect()
        assert gone() is None


async def test_many_may_wait_for_the_same_node() -> None:
    waiting = 0

    async def wait(node: NodeDelegate) -> None:
        nonlocal waiting
        waiting += 1
        await node.wait_exited()
        waiting -= 1

    async with Graph() as graph, trio.open_nursery() as nursery:
        node = graph.add_node(Node("a", "node"))
        for _ in range(3):
            nursery.start_soon(wait, node)
        await trio.testing.wait_all_tasks_blocked()
        assert waiting == 3
        node.request_exit()
    assert waiting == 0
