"""Deliver, broadcast, deliver_within, deliver_self: what is taken, what is refused."""

import math

import pytest
import trio

from eventgraph import Address, Event, Graph, LinkNotFoundError, Node, NodeDelegate
from eventgraph.testing import Probe, wait_idle


def small(name: str, size: int) -> Probe:
    probe = Probe("s", name)
    probe.channel_size = size
    return probe


async def test_events_arrive_in_order_for_each_link() -> None:
    async with Graph() as graph:
        receiver = Probe("s", "receiver")
        graph.add_node(receiver)
        senders = [graph.add_node(Probe("s", f"sender-{i}")) for i in range(3)]
        links = [sender.request_link_up("s", "receiver") for sender in senders]
        for number in range(30):
            for cmd, (sender, link) in enumerate(zip(senders, links, strict=True)):
                assert sender.deliver(link, Event(cmd, number))
        await wait_idle(graph)
        for cmd in range(3):
            assert [e.obj for e in receiver.events if e.cmd == cmd] == list(range(30))


async def test_full_channel_refuses_and_counts() -> None:
    async with Graph() as graph:
        graph.add_node(small("receiver", 2))
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "receiver")
        assert [sender.deliver(link, Event(i)) for i in range(4)] == [True, True, False, False]
        (counts,) = (link.counts for link in graph.snapshot().links)
        assert (counts.offered, counts.handled, counts.queued) == (4, 0, 2)
        assert counts.dropped == {"full": 2}
        await wait_idle(graph)
        (counts,) = (link.counts for link in graph.snapshot().links)
        assert (counts.offered, counts.handled, counts.queued) == (4, 2, 0)


async def test_delivery_before_on_enter_waits_for_it() -> None:
    async with Graph() as graph:
        receiver = Probe("s", "receiver")
        graph.add_node(receiver)
        sender = graph.add_node(Probe("s", "sender"))
        assert sender.deliver(sender.request_link_up("s", "receiver"), Event(1))
        assert receiver.calls == []
        await wait_idle(graph)
        assert receiver.calls == ["on_enter", "on_event"]


async def test_never_issued_id_is_misuse() -> None:
    async with Graph() as graph:
        sender = graph.add_node(Probe("s", "sender"))
        for wrong in (0, 1, -1, 65535, 65536, 1 << 40):
            with pytest.raises(LinkNotFoundError, match="never issued"):
                sender.deliver(wrong, Event(1))
            with pytest.raises(LinkNotFoundError, match="never issued"):
                sender.deliver_from_thread(wrong, Event(1))
            with pytest.raises(LinkNotFoundError, match="never issued"):
                await sender.deliver_within(wrong, Event(1), timeout=1)


async def test_stale_id_never_reaches_the_node_that_has_its_slot_now() -> None:
    async with Graph() as graph:
        old, new = Probe("s", "old"), Probe("s", "new")
        graph.add_node(old)
        graph.add_node(new)
        source = Probe("s", "source")
        source.max_links = 1
        sender = graph.add_node(source)
        stale = sender.request_link_up("s", "old")
        sender.request_link_down(stale)
        link = sender.request_link_up("s", "new")  # the slot is free at once
        assert link != stale
        assert not sender.deliver(stale, Event(1))
        await wait_idle(graph)
        assert not sender.deliver(stale, Event(2))
        assert not await sender.deliver_within(stale, Event(3), timeout=1)
        assert not sender.deliver_from_thread(stale, Event(4))
        await wait_idle(graph)
        assert (old.events, new.events) == ([], [])
        assert graph.snapshot().totals.dropped == {"link_down": 1, "stale": 3}


async def test_broadcast_tells_how_many_took_it() -> None:
    async with Graph() as graph:
        full = small("full", 1)
        graph.add_node(full)
        free = Probe("s", "free")
        graph.add_node(free)
        sender = graph.add_node(Probe("s", "sender"))
        sender.deliver(sender.request_link_up("s", "full"), Event(0))
        sender.request_link_up("s", "free")
        assert sender.broadcast(Event(7)) == 1
        await wait_idle(graph)
        assert sender.broadcast(Event(8)) == 2
        await wait_idle(graph)
        assert [e.cmd for e in free.events] == [7, 8]
        assert [e.cmd for e in full.events] == [0, 8]


async def test_deliver_self_is_bounded_and_counted() -> None:
    async with Graph() as graph:
        probe = small("probe", 2)
        node = graph.add_node(probe)
        assert [node.deliver_self(Event(i)) for i in range(3)] == [True, True, False]
        counts = graph.snapshot().nodes[0].to_self
        assert (counts.offered, counts.queued, counts.dropped) == (3, 2, {"full": 1})
        await wait_idle(graph)
        assert [e.cmd for e in probe.events] == [0, 1]


async def test_reply_to_brings_the_answer_back() -> None:
    class Answerer(Probe):
        def on_event(self, event: Event) -> None:
            assert event.reply_to is not None
            link = self.delegate.request_link_up(event.reply_to.scope, event.reply_to.name)
            self.delegate.deliver(link, Event(event.cmd + 1))

    async with Graph() as graph:
        graph.add_node(Answerer("s", "answerer"))
        asker = Probe("s", "asker")
        node = graph.add_node(asker)
        link = node.request_link_up("s", "answerer")
        node.deliver(link, Event(1, reply_to=Address("s", "asker")))
        await wait_idle(graph)
        assert [e.cmd for e in asker.events] == [2]


class Slow(Node):
    """Takes one second for each event."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__("s", name)
        self.channel_size = size
        self.handled: list[int] = []

    async def on_event(self, event: Event) -> None:
        await trio.sleep(1)
        self.handled.append(event.cmd)


async def occupy(sender: NodeDelegate) -> int:
    """Link to a slow node with room for one: one event is being handled, one waits."""
    link = sender.request_link_up("s", "slow")
    for cmd in range(2):
        assert sender.deliver(link, Event(cmd))
        await trio.testing.wait_all_tasks_blocked()
    return link


async def test_deliver_within_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        slow = Slow("slow", 1)
        graph.add_node(slow)
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "slow")
        start = trio.current_time()
        for cmd in range(4):
            assert await sender.deliver_within(link, Event(cmd), timeout=5)
        assert trio.current_time() - start == pytest.approx(2)
        await wait_idle(graph)
        assert slow.handled == [0, 1, 2, 3]
        (snapshot,) = graph.snapshot().links
        assert (snapshot.counts.offered, snapshot.counts.dropped) == (4, {})


async def test_deliver_within_that_times_out_is_one_offer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph(exit_timeout=30) as graph:
        graph.add_node(Slow("slow", 1))
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "slow")
        assert await sender.deliver_within(link, Event(0), timeout=5)
        await trio.sleep(0.1)  # it is being handled
        assert await sender.deliver_within(link, Event(1), timeout=5)
        assert not await sender.deliver_within(link, Event(2), timeout=0.5)
        assert not await sender.deliver_within(link, Event(3), timeout=0)
        (snapshot,) = graph.snapshot().links
        assert (snapshot.counts.offered, snapshot.counts.dropped) == (4, {"full": 2})


async def test_waiting_senders_get_room_in_the_order_they_came(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph(exit_timeout=30) as graph, trio.open_nursery() as nursery:
        slow = Slow("slow", 1)
        graph.add_node(slow)
        for cmd in range(5):
            sender = graph.add_node(Probe("s", f"sender-{cmd}"))
            link = sender.request_link_up("s", "slow")
            nursery.start_soon(sender.deliver_within, link, Event(cmd), 20)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(6)
        assert slow.handled == [0, 1, 2, 3, 4]


async def test_deliver_within_ends_when_the_link_goes_down(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph(exit_timeout=30) as graph, trio.open_nursery() as nursery:
        graph.add_node(Slow("slow", 1))
        sender = graph.add_node(Probe("s", "sender"))
        link = await occupy(sender)
        answers: list[tuple[bool, float]] = []

        async def wait() -> None:
            taken = await sender.deliver_within(link, Event(2), timeout=100)
            answers.append((taken, trio.current_time()))

        start = trio.current_time()
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        sender.request_link_down(link)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == [(False, start)]


async def test_cancelled_deliver_within_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph(exit_timeout=30) as graph:
        slow = Slow("slow", 1)
        graph.add_node(slow)
        sender = graph.add_node(Probe("s", "sender"))
        link = await occupy(sender)
        with trio.move_on_after(0.1):
            await sender.deliver_within(link, Event(2), timeout=100)
        await trio.sleep(10)
        assert slow.handled == [0, 1]
        (snapshot,) = graph.snapshot().links
        assert snapshot.counts.dropped == {"cancelled": 1}


@pytest.mark.parametrize("timeout", [-1, math.inf, math.nan])
async def test_timeout_must_be_finite_and_not_negative(timeout: float) -> None:
    async with Graph() as graph:
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "sender")
        with pytest.raises(ValueError, match="timeout"):
            await sender.deliver_within(link, Event(1), timeout)


async def test_delivery_after_the_own_exit_is_refused() -> None:
    async with Graph() as graph:
        graph.add_node(Probe("s", "receiver"))
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "receiver")
        sender.request_exit()
        await sender.wait_exited()
        assert not sender.deliver(link, Event(1))
        assert not sender.deliver_self(Event(1))
        assert not sender.deliver_from_thread(link, Event(1))
        assert sender.broadcast(Event(1)) == 0
        assert not await sender.deliver_within(link, Event(1), timeout=1)
        totals = graph.snapshot().totals
        assert (totals.offered, totals.dropped) == (4, {"stale": 4})


async def test_cancelled_deliver_within_was_not_delivered_even_when_room_came_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph(exit_timeout=30) as graph, trio.open_nursery() as nursery:
        slow = Slow("slow", 1)
        graph.add_node(slow)
        sender = graph.add_node(Probe("s", "sender"))
        link = await occupy(sender)
        outcome: list[object] = []

        async def wait() -> None:
            try:
                with scope:
                    outcome.append(await sender.deliver_within(link, Event(2), timeout=100))
            finally:
                outcome.append(scope.cancelled_caught)

        scope = trio.CancelScope(deadline=trio.current_time() + 1)  # when slow makes room
        nursery.start_soon(wait)
        await trio.sleep(10)
        delivered = 2 in slow.handled
        assert outcome == ([True, False] if delivered else [True])


async def test_a_thousand_waiting_senders_are_turned_away_in_one_go() -> None:
    async with Graph(exit_timeout=0) as graph, trio.open_nursery() as nursery:
        stuck = graph.add_node(Slow("slow", 1))
        answers: list[bool] = []

        async def wait(sender: NodeDelegate, link: int) -> None:
            answers.append(await sender.deliver_within(link, Event(1), timeout=1000))

        for i in range(1000):
            sender = graph.add_node(Probe("s", f"sender-{i}"))
            link = sender.request_link_up("s", "slow")
            nursery.start_soon(wait, sender, link)
        await trio.testing.wait_all_tasks_blocked()
        stuck.request_exit()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(answers) == [False] * 998 + [True] * 2
