"""Supervised nodes run again after a crash; their links stay, and nobody else notices."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from eventgraph import (
    Address,
    DropReason,
    Event,
    Graph,
    GraphClosedError,
    GraphError,
    GraphFailedError,
    Level,
    Node,
    NodeDelegate,
    NodeNotFoundError,
    NodeState,
    Restart,
    RestartPolicy,
)
from eventgraph.testing import Probe, wait_idle

POISON = Event(13)
PROMPT = RestartPolicy(jitter=0)
SLOW = RestartPolicy(backoff=1.0, jitter=0)


class Victim(Probe):
    """Raises at `POISON`."""

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if event == POISON:
            raise ValueError("poison")


class AsyncVictim(Victim):
    """The same in a task of its own."""

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.lowlevel.checkpoint()
        super().on_event(event)


class Lives:
    """A factory that keeps what it built."""

    def __init__(self, build: Callable[[], Probe]) -> None:
        self._build = build
        self.all: list[Probe] = []

    def __call__(self) -> Probe:
        self.all.append(self._build())
        return self.all[-1]

    @property
    def last(self) -> Probe:
        return self.all[-1]


def lives(name: str = "v", kind: type[Probe] = Victim, scope: str = "s") -> Lives:
    return Lives(partial(kind, scope, name))


kinds = pytest.mark.parametrize("kind", [Victim, AsyncVictim])


@kinds
async def test_links_in_both_directions_keep_their_ids(
    autojump_clock: MockClock, kind: type[Probe]
) -> None:
    async with Graph() as graph:
        victim, friend, sink = lives(kind=kind), Probe("s", "friend"), Probe("s", "sink")
        delegate = graph.supervise(victim, PROMPT)
        friendly = graph.add_node(friend)
        graph.add_node(sink)
        incoming = friendly.request_link_up("s", "v")
        outgoing = delegate.request_link_up("s", "sink")
        friendly.deliver(incoming, POISON)
        await wait_idle(graph)
        assert len(victim.all) == 2
        assert victim.all[0].calls == ["on_enter", "on_event", "on_exit"]
        assert friend.links_down == []
        assert friendly.deliver(incoming, Event(1))
        assert victim.last.delegate is delegate
        assert delegate.deliver(outgoing, Event(2))
        await wait_idle(graph)
        assert victim.last.events == [Event(1)]
        assert sink.events == [Event(2)]
        (node,) = [n for n in graph.snapshot().nodes if n.address.name == "v"]
        assert (node.restarts, node.state, node.channel_size) == (1, NodeState.RUNNING, 128)


@kinds
async def test_deliveries_to_a_suspended_node_are_refused_with_that_reason(
    autojump_clock: MockClock,
    kind: type[Probe],
) -> None:
    async with Graph() as graph:
        victim, friendly = lives(kind=kind), graph.add_node(Probe("s", "friend"))
        delegate = graph.supervise(victim, SLOW)
        link = friendly.request_link_up("s", "v")
        for event in (Event(1), POISON, Event(2), Event(3)):
            assert friendly.deliver(link, event)
        await trio.sleep(0.5)
        assert delegate.state is NodeState.SUSPENDED
        assert not friendly.deliver(link, Event(4))
        assert friendly.broadcast(Event(5)) == 0
        assert not friendly.deliver_from_thread(link, Event(6))
        assert not await friendly.deliver_within(link, Event(7), 0.1)
        assert not delegate.deliver_self(Event(8))
        assert await friendly.deliver_within(link, Event(9), 1.0)  # it is back before that
        assert friendly.deliver(link, Event(10))
        await wait_idle(graph)
        assert victim.last.events == [Event(9), Event(10)]
        snapshot = graph.snapshot()
        (counts,) = [other.counts for other in snapshot.links]
        assert counts.offered == 9
        assert counts.handled == 4
        assert counts.dropped == {DropReason.SUSPENDED: 3, DropReason.CRASHED: 2}
        nodes = {node.address.name: node for node in snapshot.nodes}
        assert nodes["v"].to_self.dropped == {DropReason.SUSPENDED: 1}
        assert nodes["friend"].from_threads.dropped == {DropReason.SUSPENDED: 1}


class Asker(Victim):
    """Links itself where it enters, as most nodes do."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        super().on_enter(delegate)
        self.link = delegate.request_link_up("s", "sink")


async def test_a_node_that_asks_for_its_links_gets_those_that_stand(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        graph.add_node(Probe("s", "sink"))
        graph.add_node(Probe("s", "other"))
        victim = lives(kind=Asker)
        delegate = graph.supervise(victim, PROMPT)
        graph.link_up(Address("s", "v"), Address("s", "other"))
        await wait_idle(graph)
        delegate.deliver_self(POISON)
        await wait_idle(graph)
        first, second = victim.all
        assert isinstance(first, Asker)
        assert isinstance(second, Asker)
        assert first.link == second.link
        assert second.links_up == first.links_up  # the one that it did not ask for
        assert [link[2] for link in second.links_up] == ["other"]
        with pytest.raises(GraphError):  # once: from now on it is as for anybody
            delegate.request_link_up("s", "sink")


async def test_links_that_went_down_while_it_was_suspended_are_not_told(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        sink = graph.add_node(Probe("s", "sink"))
        graph.add_node(Probe("s", "late"))
        victim = lives()
        delegate = graph.supervise(victim, SLOW)
        gone = delegate.request_link_up("s", "sink")
        delegate.deliver_self(POISON)
        await trio.sleep(0.5)
        sink.request_exit()
        await sink.wait_exited()
        graph.link_up(Address("s", "v"), Address("s", "late"))  # takes the slot that is free
        await wait_idle(graph)
        assert victim.last.links_down == []
        assert [link[2] for link in victim.last.links_up] == ["late"]
        assert not delegate.deliver(gone, Event(1))
        assert graph.snapshot().totals.dropped[DropReason.STALE] == 1


async def test_what_waited_to_be_told_ends_with_the_life(autojump_clock: MockClock) -> None:
    class Sensitive(Probe):
        def on_link_down(self, link_id: int, scope: str, name: str) -> None:
            super().on_link_down(link_id, scope, name)
            raise ValueError(name)

    async with Graph() as graph:
        victim = lives(kind=Sensitive)
        delegate = graph.supervise(victim, PROMPT)
        for name in "xy":
            graph.add_node(Probe("s", name))
            delegate.request_link_up("s", name)
        for name in "xy":
            graph.link_down(Address("s", "v"), Address("s", name))
        await wait_idle(graph)
        assert [len(life.links_down) for life in victim.all] == [1, 0]
        assert graph.snapshot().links == []


async def test_waiting_for_the_entry_waits_for_that_of_the_new_life(
    autojump_clock: MockClock,
) -> None:
    class Slow(Victim):
        async def on_enter(self, delegate: NodeDelegate) -> None:  # type: ignore[override]
            await trio.sleep(3)

    async with Graph() as graph:
        delegate = graph.supervise(lives(kind=Slow), PROMPT)
        await delegate.wait_entered()
        delegate.deliver_self(POISON)
        await trio.sleep(1)
        states = [delegate.state]
        await delegate.wait_entered()
        assert [*states, delegate.state] == [NodeState.ENTERING, NodeState.RUNNING]
        assert trio.current_time() >= 6


@pytest.mark.parametrize("hook", ["on_enter", "on_link_up", "on_link_down", "on_exit"])
async def test_a_crash_in_any_hook_is_survived(autojump_clock: MockClock, hook: str) -> None:
    class Fragile(Probe):
        broken = 1

        def _maybe(self, name: str) -> None:
            if name == hook and Fragile.broken:
                Fragile.broken -= 1
                raise ValueError(hook)

        def on_enter(self, delegate: NodeDelegate) -> None:
            super().on_enter(delegate)
            self._maybe("on_enter")

        def on_link_up(self, link_id: int, scope: str, name: str) -> None:
            super().on_link_up(link_id, scope, name)
            self._maybe("on_link_up")

        def on_link_down(self, link_id: int, scope: str, name: str) -> None:
            super().on_link_down(link_id, scope, name)
            self._maybe("on_link_down")

        def on_event(self, event: Event) -> None:
            raise ValueError("an event")

        def on_exit(self) -> None:
            super().on_exit()
            self._maybe("on_exit")

    async with Graph() as graph:
        graph.add_node(Probe("s", "sink"))
        victim = Lives(lambda: Fragile("s", "v"))
        delegate = graph.supervise(victim, PROMPT)
        graph.link_up(Address("s", "v"), Address("s", "sink"))
        await wait_idle(graph)
        if hook == "on_link_down":
            graph.link_down(Address("s", "v"), Address("s", "sink"))
        if hook == "on_exit":
            delegate.deliver_self(Event(1))
        await wait_idle(graph)
        assert len(victim.all) == 2
        assert all(life.calls.count("on_exit") == (life is not victim.last) for life in victim.all)
        assert delegate.state is NodeState.RUNNING
        assert graph.snapshot().crash_count == 1 + (hook == "on_exit")


async def test_when_its_restarts_are_spent_it_leaves_as_one_that_crashed(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        friend = Probe("s", "friend")
        friendly = graph.add_node(friend)
        policy = RestartPolicy(max_restarts=2, jitter=0)
        victim = lives()
        delegate = graph.supervise(victim, policy)
        link = friendly.request_link_up("s", "v")
        for _ in range(3):
            assert friendly.deliver(link, POISON)
            await wait_idle(graph)
        await delegate.wait_exited()
        assert len(victim.all) == 3
        assert delegate.state is NodeState.CRASHED
        assert friend.links_down == [(link, "s", "v")]
        graph.add_node(Probe("s", "v"))  # the address is free


async def test_crashes_that_are_far_apart_never_use_it_up(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        victim = lives()
        delegate = graph.supervise(victim, RestartPolicy(max_restarts=1, period=5))
        for _ in range(10):
            delegate.deliver_self(POISON)
            await trio.sleep(6)
        assert len(victim.all) == 11


async def test_a_tone_of_20_ms_packets_misses_two_at_the_most(autojump_clock: MockClock) -> None:
    """The gap that a listener hears over a restart is 40 ms or less."""

    class Relay(Victim):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            self.delegate.broadcast(event)

    async with Graph() as graph:
        source, ear = graph.add_node(Probe("s", "source")), Probe("s", "ear")
        graph.add_node(ear)
        graph.supervise(lambda: Relay("s", "relay")).request_link_up("s", "ear")
        link = source.request_link_up("s", "relay")
        heard: list[float] = []
        for number in range(100):
            source.deliver(link, POISON if number == 50 else Event(1))
            before = len(ear.events)
            await trio.sleep(0.02)
            if len(ear.events) > before:
                heard.append(trio.current_time())
        gaps = [after - before for before, after in pairwise(heard)]
        assert 0.02 < max(gaps) <= 0.0401
        assert sum(gap > 0.021 for gap in gaps) == 1


# Permanent, temporary, dismissed


async def test_a_permanent_node_comes_back_after_an_exit_without_links(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        friendly = graph.add_node(Probe("s", "friend"))
        victim = lives()
        policy = RestartPolicy(restart=Restart.PERMANENT, jitter=0)
        first = graph.supervise(victim, policy)
        friendly.request_link_up("s", "v")
        first.request_exit()
        await first.wait_exited()
        await trio.sleep(0.1)
        assert victim.all[0].calls[-1] == "on_exit"
        assert len(victim.all) == 2
        assert friendly.links == {}
        assert friendly.deliver(friendly.request_link_up("s", "v"), Event(1))
        await wait_idle(graph)
        assert victim.last.events == [Event(1)]


async def test_a_transient_node_that_exits_is_gone(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        victim = lives()
        delegate = graph.supervise(victim, PROMPT)
        delegate.request_exit()
        await delegate.wait_exited()
        await trio.sleep(10)
        assert len(victim.all) == 1


async def test_a_temporary_node_that_crashes_is_gone(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        victim = lives()
        delegate = graph.supervise(victim, RestartPolicy(restart=Restart.TEMPORARY))
        delegate.deliver_self(POISON)
        await delegate.wait_exited()
        await trio.sleep(10)
        assert len(victim.all) == 1


@pytest.mark.parametrize("when", ["running", "suspended"])
async def test_a_dismissed_node_leaves_for_good(autojump_clock: MockClock, when: str) -> None:
    async with Graph() as graph:
        victim = lives()
        policy = RestartPolicy(restart=Restart.PERMANENT, backoff=1.0)
        delegate = graph.supervise(victim, policy)
        if when == "suspended":
            delegate.deliver_self(POISON)
            await trio.sleep(0.5)
        graph.dismiss(Address("s", "v"))
        await delegate.wait_exited()
        await trio.sleep(10)
        assert len(victim.all) == 1
        with pytest.raises(NodeNotFoundError):
            graph.dismiss(Address("s", "v"))
        graph.add_node(Probe("s", "v"))
        with pytest.raises(GraphError, match="supervised"):
            graph.dismiss(Address("s", "v"))


@kinds
async def test_a_suspended_node_can_be_asked_to_exit(
    autojump_clock: MockClock, kind: type[Probe]
) -> None:
    async with Graph() as graph:
        friend = Probe("s", "friend")
        link = graph.add_node(friend)
        victim = lives(kind=kind)
        delegate = graph.supervise(victim, SLOW)
        link.request_link_up("s", "v")
        delegate.deliver_self(POISON)
        await trio.sleep(0.5)
        delegate.request_exit()
        await delegate.wait_exited()
        await wait_idle(graph)
        assert friend.calls[-1] == "on_link_down"
        await trio.sleep(10)
        assert len(victim.all) == 1


# Further up


def family(escalate: Level) -> RestartPolicy:
    return RestartPolicy(max_restarts=1, jitter=0, escalate=escalate)


@kinds
async def test_a_scope_is_restarted_together_when_one_node_is_spent(
    autojump_clock: MockClock, kind: type[Probe]
) -> None:
    async with Graph() as graph:
        policy = family(Level.SCOPE)
        bad, good, other = lives("bad", kind), lives("good", kind), lives("x", kind, "t")
        weak = graph.supervise(bad, policy)
        link = graph.supervise(good, policy).request_link_up("s", "bad")
        graph.supervise(other, policy)
        await wait_idle(graph)
        plain = Probe("s", "plain")
        graph.add_node(plain)
        for delegate in (good.last.delegate, weak, weak):
            delegate.deliver_self(POISON)
            await wait_idle(graph)
        assert len(bad.all) == 3
        assert len(good.all) == 3
        assert good.all[1].calls == ["on_enter", "on_link_up", "on_exit"]
        assert len(other.all) == 1
        assert plain.calls == ["on_enter"]
        assert good.last.delegate.deliver(link, Event(1))
        await wait_idle(graph)
        assert bad.last.events == [Event(1)]
        for delegate in (weak, good.last.delegate):  # their own restarts count from the beginning
            delegate.deliver_self(POISON)
            await wait_idle(graph)
        assert (len(bad.all), len(good.all)) == (4, 4)


async def test_a_crash_in_a_task_restarts_plain_nodes_of_its_scope(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        plain = lives("plain", Victim)
        graph.supervise(plain, family(Level.SCOPE))
        weak = graph.supervise(lives("bad", AsyncVictim), family(Level.SCOPE))
        await wait_idle(graph)
        for _ in range(2):
            weak.deliver_self(POISON)
            await trio.sleep(1)  # the dispatcher sleeps
        assert [life.calls for life in plain.all] == [["on_enter", "on_exit"], ["on_enter"]]


async def test_a_hook_that_hangs_is_cancelled_when_its_scope_is_restarted(
    autojump_clock: MockClock,
) -> None:
    class Hanging(Probe):
        async def on_event(self, _event: Event) -> None:  # type: ignore[override]
            await trio.sleep_forever()

    async with Graph() as graph:
        policy = family(Level.SCOPE)
        hanging = lives("hanging", Hanging)
        graph.supervise(hanging, policy).deliver_self(Event(1))
        weak = graph.supervise(lives("bad"), policy)
        for _ in range(2):
            weak.deliver_self(POISON)
            await trio.sleep(1)
        assert [life.calls for life in hanging.all] == [["on_enter", "on_exit"], ["on_enter"]]


async def test_a_scope_that_is_spent_leaves_and_the_others_stay(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        policy = family(Level.SCOPE)
        weak = graph.supervise(lives("bad"), policy)
        good, other = lives("good"), graph.supervise(lives("x", scope="t"), policy)
        innocent = graph.supervise(good, policy)
        for _ in range(4):
            weak.deliver_self(POISON)
            await trio.sleep(1)
        await weak.wait_exited()
        await innocent.wait_exited()
        assert weak.state is NodeState.CRASHED
        assert innocent.state is NodeState.EXITED
        assert other.state is NodeState.RUNNING


async def test_the_graph_is_restarted_and_then_ends_when_everything_is_spent(
    autojump_clock: MockClock,
) -> None:
    policy = family(Level.GRAPH)
    bad, other = lives("bad"), lives("x", scope="t")
    bystander = Probe("u", "plain")
    with pytest.raises(GraphFailedError, match="bad@s"):
        async with Graph() as graph:
            weak = graph.supervise(bad, policy)
            graph.supervise(other, policy)
            graph.add_node(bystander)
            while True:
                weak.deliver_self(POISON)
                await trio.sleep(0.2)
    assert len(other.all) == 2  # with the graph
    assert len(bad.all) == 8  # at each of the three levels, after one restart of its own
    assert all(life.calls[-1] == "on_exit" for life in (*bad.all, *other.all, bystander))


async def test_temporary_nodes_exit_when_their_scope_is_restarted(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        weak = graph.supervise(lives("bad"), family(Level.SCOPE))
        brief = RestartPolicy(restart=Restart.TEMPORARY)
        once = graph.supervise(lives("once"), brief)
        for _ in range(2):
            weak.deliver_self(POISON)
            await trio.sleep(1)
        assert once.state is NodeState.EXITED
        assert weak.state is NodeState.RUNNING


# Factories


async def test_what_a_factory_raises_at_first_is_for_the_caller() -> None:
    def broken() -> Node:
        raise OSError("no microphone")

    async with Graph() as graph:
        with pytest.raises(OSError, match="microphone"):
            graph.supervise(broken)
        with pytest.raises(GraphError, match="no Node"):
            graph.supervise(lambda: 7)  # type: ignore[arg-type, return-value]
        assert graph.snapshot().nodes == []


@pytest.mark.parametrize("fault", ["raises", "moves", "changes its kind"])
async def test_a_factory_that_fails_later_counts_as_a_crash(
    autojump_clock: MockClock, fault: str
) -> None:
    built = 0

    def build() -> Node:
        nonlocal built
        built += 1
        if built == 2:
            if fault == "raises":
                raise OSError("no microphone")
            return Probe("s", "elsewhere") if fault == "moves" else AsyncVictim("s", "v")
        return Victim("s", "v")

    async with Graph() as graph:
        delegate = graph.supervise(build, PROMPT)
        delegate.deliver_self(POISON)
        await wait_idle(graph)
        assert built == 3
        assert delegate.state is NodeState.RUNNING
        assert [crash.hook for crash in graph.snapshot().crashes] == ["on_event", "factory"]


async def test_a_factory_that_always_fails_is_given_up(autojump_clock: MockClock) -> None:
    built = 0

    def build() -> Node:
        nonlocal built
        built += 1
        if built > 1:
            raise OSError("no microphone")
        return Victim("s", "v")

    async with Graph() as graph:
        delegate = graph.supervise(build, RestartPolicy(max_restarts=3))
        delegate.deliver_self(POISON)
        await delegate.wait_exited()
        assert built == 4
        assert delegate.state is NodeState.CRASHED


# Leaving the graph


@kinds
@pytest.mark.parametrize("body_fails", [False, True])
async def test_leaving_the_graph_does_not_wait_for_restarts(
    autojump_clock: MockClock, kind: type[Probe], body_fails: bool
) -> None:
    victim, permanent = lives(kind=kind), lives("p")
    late = RestartPolicy(restart=Restart.PERMANENT, backoff=3000.0, max_backoff=3000.0)
    start = trio.current_time()
    try:
        async with Graph() as graph:
            graph.supervise(victim, late).deliver_self(POISON)
            graph.supervise(permanent, late).request_exit()
            await trio.sleep(1)
            assert len(graph.snapshot().nodes) == 1
            if body_fails:
                raise KeyError("body")
    except KeyError:
        assert body_fails
    assert trio.current_time() - start < 2
    assert victim.all[0].calls.count("on_exit") == 1
    with pytest.raises(GraphClosedError):
        graph.supervise(victim)


async def test_a_crash_while_the_graph_is_left_is_final() -> None:
    class Bad(Probe):
        def on_event(self, _event: Event) -> None:
            raise ValueError

    victim = lives(kind=Bad)
    async with Graph() as graph:
        graph.supervise(victim, PROMPT).deliver_self(Event(1))
    assert len(victim.all) == 1
