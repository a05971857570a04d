"""deliver_from_thread: from any thread, never blocking, and True is final."""

import threading

import trio

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, wait_idle

THREADS, EACH = 4, 3000


async def test_every_true_is_handled_in_order_and_every_false_is_counted() -> None:
    async with Graph() as graph:
        receiver = Probe("s", "receiver")
        receiver.channel_size = 64
        graph.add_node(receiver)
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "receiver")
        taken: list[list[int]] = [[] for _ in range(THREADS)]

        def deliver(thread: int) -> None:
            for number in range(EACH):
                if sender.deliver_from_thread(link, Event(thread, number)):
                    taken[thread].append(number)

        async with trio.open_nursery() as nursery:
            for thread in range(THREADS):
                nursery.start_soon(trio.to_thread.run_sync, deliver, thread)
            for _ in range(100):  # the graph's own thread delivers beside them
                sender.deliver(link, Event(THREADS))
                await trio.lowlevel.checkpoint()
        await wait_idle(graph)
        for thread in range(THREADS):
            assert [e.obj for e in receiver.events if e.cmd == thread] == taken[thread]
        node = next(n for n in graph.snapshot().nodes if n.address.name == "sender")
        accepted = sum(map(len, taken))
        counts = node.from_threads
        assert (counts.offered, counts.handled, counts.queued) == (THREADS * EACH, accepted, 0)
        assert sum(counts.dropped.values()) == THREADS * EACH - accepted


async def test_inbox_is_bounded_while_the_receiver_is_stuck() -> None:
    class Stuck(Node):
        channel_size = 3

        async def on_event(self, event: Event) -> None:
            await release.wait()

    release = trio.Event()
    async with Graph() as graph:
        graph.add_node(Stuck("s", "stuck"))
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "stuck")
        for _ in range(4):
            sender.deliver(link, Event(0))
            await trio.testing.wait_all_tasks_blocked()

        def flood() -> list[bool]:
            return [sender.deliver_from_thread(link, Event(1)) for _ in range(5)]

        assert await trio.to_thread.run_sync(flood) == [True, True, True, False, False]
        stuck = next(n for n in graph.snapshot().nodes if n.address.name == "stuck")
        assert (stuck.queued, stuck.waiting) == (3, 3)
        release.set()
        await wait_idle(graph)
        node = next(n for n in graph.snapshot().nodes if n.address.name == "sender")
        assert (node.from_threads.handled, node.from_threads.dropped) == (3, {"full": 2})


async def test_exit_handles_what_threads_had_delivered() -> None:
    async with Graph() as graph:
        receiver = Probe("s", "receiver")
        receiver.channel_size = 4
        node = graph.add_node(receiver)
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "receiver")
        for _ in range(4):
            assert sender.deliver(link, Event(0))
            assert sender.deliver_from_thread(link, Event(1))
        node.request_exit()
        assert not sender.deliver_from_thread(link, Event(2))
        await node.wait_exited()
        assert [e.cmd for e in receiver.events] == [0] * 4 + [1] * 4
        totals = graph.snapshot().totals
        assert (totals.offered, totals.handled, totals.dropped) == (9, 8, {"link_down": 1})


async def test_crash_counts_what_threads_had_delivered() -> None:
    class Bomb(Node):
        def on_event(self, event: Event) -> None:
            raise ValueError

    async with Graph() as graph:
        node = graph.add_node(Bomb("s", "bomb"))
        sender = graph.add_node(Probe("s", "sender"))
        link = sender.request_link_up("s", "bomb")
        for _ in range(5):
            sender.deliver_from_thread(link, Event(1))
        await node.wait_exited()
        totals = graph.snapshot().totals
        assert (totals.offered, totals.handled, totals.dropped) == (5, 1, {"crashed": 4})


async def test_threads_may_deliver_while_nodes_crash_and_leave() -> None:
    """Sums must agree whatever the threads meet: up, going, gone."""

    class Fragile(Probe):
        def on_event(self, event: Event) -> None:
            if event.cmd == 0:
                raise ValueError

    stop = threading.Event()
    offered = [0] * THREADS
    refused = 0
    async with Graph() as graph:
        sender = graph.add_node(Probe("s", "sender"))
        links: list[int] = []

        def deliver(thread: int) -> None:
            while not stop.is_set():
                for link in list(links):
                    sender.deliver_from_thread(link, Event(1))
                    offered[thread] += 1

        async with trio.open_nursery() as nursery:
            for thread in range(THREADS):
                nursery.start_soon(trio.to_thread.run_sync, deliver, thread)
            try:
                with trio.fail_after(60):
                    for round_ in range(60):
                        node = graph.add_node(Fragile("s", "receiver"))
                        links[:] = [sender.request_link_up("s", "receiver")]
                        await trio.sleep(0.001)
                        if round_ % 2:
                            node.request_exit()
                        else:
                            while not node.deliver_self(Event(0)):  # the threads have filled it
                                refused += 1
                                await trio.lowlevel.checkpoint()
                        await node.wait_exited()
            finally:
                stop.set()
        await wait_idle(graph)
        totals = graph.snapshot().totals
        assert totals.offered == sum(offered) + 30 + refused
        assert totals.queued == 0
        assert totals.offered == totals.handled + sum(totals.dropped.values())
