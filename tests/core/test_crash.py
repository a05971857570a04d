"""A hook that raises costs its own node, and nothing else."""

import asyncio

import pytest
import trio

from eventgraph import Address, Event, Graph, LinkRefusedError, Node, NodeDelegate, NodeState
from eventgraph.testing import Probe, wait_idle


class Bomb(Probe):
    """Raises in the hook named by ``fuse``."""

    def __init__(
        self, name: str, fuse: str = "on_event", error: type[BaseException] = ValueError
    ) -> None:
        super().__init__("s", name)
        self.fuse = fuse
        self.error = error

    def _burn(self, hook: str) -> None:
        if hook == self.fuse:
            raise self.error("boom")

    def on_enter(self, delegate: NodeDelegate) -> None:
        super().on_enter(delegate)
        self._burn("on_enter")

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self._burn("on_event")

    def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        super().on_link_up(link_id, scope, name)
        self._burn("on_link_up")

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        super().on_link_down(link_id, scope, name)
        self._burn("on_link_down")

    def on_exit(self) -> None:
        super().on_exit()
        self._burn("on_exit")


class AsyncBomb(Bomb):
    """The same in a task of its own."""

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.lowlevel.checkpoint()
        super().on_event(event)


@pytest.mark.parametrize("kind", [Bomb, AsyncBomb])
@pytest.mark.parametrize("hook", ["on_enter", "on_event", "on_link_up", "on_link_down", "on_exit"])
async def test_crash_in_any_hook_unlinks_logs_once_and_calls_on_exit_once(
    hook: str, kind: type[Bomb], caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph() as graph:
        bomb, friend, other = kind("bomb", hook), Probe("s", "friend"), Probe("s", "other")
        node, friendly = graph.add_node(bomb), graph.add_node(friend)
        graph.add_node(other)
        link = friendly.request_link_up("s", "bomb")
        graph.link_up(Address("s", "bomb"), Address("s", "other"))
        assert friendly.deliver(link, Event(1))
        graph.link_down(Address("s", "bomb"), Address("s", "other"))
        await wait_idle(graph)
        if hook == "on_exit":
            node.request_exit()
        await node.wait_exited()
        await wait_idle(graph)
        assert bomb.calls.count(hook) == 1
        assert bomb.calls[-1] == "on_exit"
        assert bomb.calls.count("on_exit") == 1
        assert friend.links_down == [(link, "s", "bomb")]
        assert not friendly.deliver(link, Event(2))
        (record,) = caplog.records
        assert "bomb@s" in record.getMessage()
        assert hook in record.getMessage()
        assert record.exc_info is not None
        snapshot = graph.snapshot()
        assert snapshot.crash_count == 1
        assert (snapshot.crashes[0].name, snapshot.crashes[0].hook) == ("bomb", hook)
        assert "boom" in snapshot.crashes[0].traceback
        assert len(snapshot.nodes) == 2
        graph.add_node(Probe("s", "bomb"))  # the address is free
    caplog.clear()


async def test_crashing_receiver_is_unlinked_from_every_one_of_a_thousand_senders() -> None:
    async with Graph() as graph:
        receiver = Bomb("receiver")
        node = graph.add_node(receiver)
        probes = [Probe("s", f"sender-{i}") for i in range(1000)]
        senders = [graph.add_node(probe) for probe in probes]
        links = [sender.request_link_up("s", "receiver") for sender in senders]
        accepted = sum(
            sender.deliver(link, Event(1)) for sender, link in zip(senders, links, strict=True)
        )
        assert accepted == receiver.channel_size
        await node.wait_exited()
        await wait_idle(graph)
        for probe, link in zip(probes, links, strict=True):
            assert probe.links_down == [(link, "s", "receiver")]
        totals = graph.snapshot().totals
        assert (totals.offered, totals.handled) == (1000, 1)
        assert totals.dropped == {"full": 1000 - accepted, "crashed": accepted - 1}


async def test_sender_may_link_up_to_a_node_that_is_about_to_crash() -> None:
    async with Graph() as graph:
        probe = Probe("s", "sender")
        sender = graph.add_node(probe)
        graph.add_node(Bomb("bomb", "on_enter"))
        link = sender.request_link_up("s", "bomb")
        assert sender.deliver(link, Event(1))
        await wait_idle(graph)
        assert probe.links_down == [(link, "s", "bomb")]
        assert graph.snapshot().totals.dropped == {"crashed": 1}


async def test_node_whose_async_on_exit_runs_after_a_crash_refuses_links() -> None:
    class Lingering(Node):
        def on_event(self, event: Event) -> None:
            raise ValueError

        async def on_exit(self) -> None:
            await release.wait()

    release = trio.Event()
    async with Graph() as graph:
        node, other = graph.add_node(Lingering("s", "a")), graph.add_node(Probe("s", "b"))
        node.deliver_self(Event(1))
        await trio.testing.wait_all_tasks_blocked()
        assert node.state is NodeState.CRASHED
        with pytest.raises(LinkRefusedError):
            other.request_link_up("s", "a")
        release.set()
        await node.wait_exited()


@pytest.mark.parametrize("kind", [Bomb, AsyncBomb])
@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, StopIteration, MemoryError])
async def test_odd_exceptions_are_crashes_too(kind: type[Bomb], error: type[BaseException]) -> None:
    async with Graph() as graph:
        node = graph.add_node(kind("bomb", error=error))
        node.deliver_self(Event(1))
        await node.wait_exited()
        assert graph.snapshot().crash_count == 1


@pytest.mark.parametrize("kind", [Bomb, AsyncBomb])
async def test_keyboard_interrupt_passes_and_the_others_still_exit(kind: type[Bomb]) -> None:
    probe = Probe("s", "a")
    with pytest.raises(KeyboardInterrupt):
        async with Graph() as graph:
            graph.add_node(probe)
            graph.add_node(kind("bomb", error=KeyboardInterrupt)).deliver_self(Event(1))
            await trio.sleep_forever()
    assert probe.calls == ["on_enter", "on_exit"]


async def test_crash_in_a_cycle_and_of_a_node_linked_to_itself() -> None:
    async with Graph() as graph:
        bomb, friend = Bomb("bomb"), Probe("s", "friend")
        node, friendly = graph.add_node(bomb), graph.add_node(friend)
        node.request_link_up("s", "bomb")
        node.request_link_up("s", "friend")
        friendly.request_link_up("s", "bomb")
        assert friendly.broadcast(Event(1)) == 1
        await node.wait_exited()
        await wait_idle(graph)
        assert len(friend.links_down) == 1
        assert bomb.links_down == []
        assert graph.snapshot().links == []


async def test_stuck_sender_holds_no_crash_up() -> None:
    class Stuck(Node):
        async def on_event(self, event: Event) -> None:
            await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with Graph() as graph:
            stuck = graph.add_node(Stuck("s", "stuck"))
            node = graph.add_node(Bomb("bomb"))
            link = stuck.request_link_up("s", "bomb")
            stuck.deliver_self(Event(1))
            await trio.testing.wait_all_tasks_blocked()
            stuck.deliver(link, Event(1))
            await node.wait_exited()
            assert not stuck.deliver(link, Event(2))
            scope.cancel()


async def test_error_group_with_a_cancellation_inside_is_a_crash_and_a_cancellation(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Nested(Node):
        async def on_event(self, event: Event) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)

        async def _fail_when_cancelled(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("cleanup")

    with trio.move_on_after(1) as scope:
        async with Graph() as graph:
            graph.add_node(Nested("s", "a")).deliver_self(Event(1))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert graph.snapshot().crash_count == 1


async def test_only_the_latest_crashes_are_kept() -> None:
    async with Graph() as graph:
        for i in range(100):
            graph.add_node(Bomb(f"bomb-{i}", "on_enter"))
        await wait_idle(graph)
        snapshot = graph.snapshot()
        assert snapshot.crash_count == 100
        assert [crash.name for crash in snapshot.crashes] == [f"bomb-{i}" for i in range(36, 100)]


async def test_exception_that_cannot_be_shown_is_a_crash_like_any_other() -> None:
    class RudeError(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no")

        __str__ = __repr__

    class Bearer(Probe):
        def on_event(self, event: Event) -> None:
            raise RudeError

    async with Graph() as graph:
        probe = Probe("s", "a")
        graph.add_node(Bearer("s", "rude")).deliver_self(Event(1))
        other = graph.add_node(probe)
        await wait_idle(graph)
        other.deliver_self(Event(1))
        await wait_idle(graph)
        assert len(probe.events) == 1
        assert graph.snapshot().crash_count == 1


async def test_report_of_a_crash_is_bounded() -> None:
    class Heavy(Probe):
        def on_event(self, event: Event) -> None:
            raise ValueError(b"x" * 1_400_000)

    async with Graph() as graph:
        graph.add_node(Heavy("s", "heavy")).deliver_self(Event(1))
        await wait_idle(graph)
        (crash,) = graph.snapshot().crashes
        assert len(crash.error) < 300
        assert len(crash.traceback) < 9000


@pytest.mark.parametrize("kind", [Bomb, AsyncBomb])
async def test_generator_exit_and_a_foreign_cancelled_are_crashes(kind: type[Bomb]) -> None:
    class Kept(kind):  # type: ignore[misc, valid-type]  # a parameter is a class too
        def on_event(self, event: Event) -> None:
            raise kept[0]

    kept: list[BaseException] = [GeneratorExit()]
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise
    async with Graph() as graph:
        for name in ("a", "b"):
            node = graph.add_node(Kept(name))
            node.deliver_self(Event(1))
            await node.wait_exited()
            kept.pop(0)
        assert graph.snapshot().crash_count == 2


async def test_keyboard_interrupt_in_on_exit_stops_nobody_elses_on_exit() -> None:
    probes = [Bomb(str(i), "on_exit", KeyboardInterrupt) for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        async with Graph() as graph:
            for probe in probes:
                graph.add_node(probe)
            raise ValueError
    assert [probe.calls.count("on_exit") for probe in probes] == [1, 1, 1]


async def test_crash_in_on_exit_shows_in_the_state() -> None:
    async with Graph() as graph:
        node = graph.add_node(Bomb("bomb", "on_exit"))
        node.request_exit()
        await node.wait_exited()
        assert node.state is NodeState.CRASHED


# What fails beside the hooks


@pytest.mark.parametrize("kind", [Probe, AsyncBomb])
async def test_failure_reported_by_a_task_is_a_crash_that_overtakes_data(kind: type[Node]) -> None:
    async with Graph() as graph:
        bomb = Bomb("v", "never") if kind is Probe else AsyncBomb("v", "never")
        bomb.channel_size = 1
        friend = Probe("s", "friend")
        node, friendly = graph.add_node(bomb), graph.add_node(friend)
        friendly.request_link_up("s", "v")
        await wait_idle(graph)
        assert friendly.broadcast(Event(1)) == 1  # its channel is full
        node.report_failure(OSError("the connection is lost"))
        await node.wait_exited()
        await wait_idle(graph)
        assert node.state is NodeState.CRASHED
        assert bomb.calls == ["on_enter", "on_exit"]
        assert friend.calls[-1] == "on_link_down"
        (crash,) = graph.snapshot().crashes
        assert (crash.hook, crash.error) == ("on_failure", "OSError: the connection is lost")
        node.report_failure(OSError("again"))
        assert graph.snapshot().crash_count == 1


async def test_node_may_go_on_after_a_failure() -> None:
    class Stoic(Probe):
        def on_failure(self, error: BaseException) -> None:
            self.calls.append(str(error))

    async with Graph() as graph:
        stoic = Stoic("s", "stoic")
        node = graph.add_node(stoic)
        node.report_failure(OSError("never mind"))
        node.deliver_self(Event(1))
        await wait_idle(graph)
        assert stoic.calls == ["on_enter", "never mind", "on_event"]
        assert node.state is NodeState.RUNNING
