"""Control churn: what it costs that a node comes, is linked both ways, and leaves again.

    hub <--> guest      guests come and go, ten at a time, each with one event to handle,
     ^                  while the hub goes on delivering to a resident
     '--> resident

Each guest must have entered, handled its event and left; the hub must have heard of every link
that went down, and the resident have handled every event that was taken for it.

Baseline: a task with an asyncio.Queue for each guest, awaited to its end, and one for the
resident. It knows no links, so there is less to do.
"""

import asyncio
from functools import partial
from time import perf_counter_ns

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.chain import EVENT, Last
from benchmarks.loops import both_loops
from benchmarks.measure import Case, verify
from eventgraph import Event, Graph, Node, NodeDelegate

CROWD = 10  # guests at a time


class Hub(Node):
    """Hears of links that went down."""

    max_links = CROWD + 1
    downs = 0

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        self.downs += 1


class Guest(Node):
    """Counts its hooks in a tally that all guests share."""

    def __init__(self, number: int, tally: list[int]) -> None:
        super().__init__("guest", str(number))
        self.tally = tally

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.tally[0] += 1

    def on_event(self, event: Event) -> None:
        self.tally[1] += 1

    def on_exit(self) -> None:
        self.tally[2] += 1


def cases(events: int) -> list[Case]:
    """What one life costs."""
    lives = max(events // 100 // CROWD, 2) * CROWD
    subject = partial(graph_churn, lives)
    return [Case("control churn, a life", subject, both_loops(queue_churn, lives))]


def graph_churn(lives: int) -> float:
    """Nanoseconds for one node to come, be linked both ways, handle an event and leave."""
    return trio.run(_graph_churn, lives)


async def _graph_churn(lives: int) -> float:
    async with Graph() as graph:
        node = Hub("bench", "hub")
        hub = graph.add_node(node)
        graph.add_node(Last("bench", "resident"))
        await wait_all_tasks_blocked()
        resident = hub.request_link_up("bench", "resident")
        tally = [0, 0, 0]
        taken = 0
        start = perf_counter_ns()
        for begin in range(0, lives, CROWD):
            guests = []
            for number in range(begin, begin + CROWD):
                guest = graph.add_node(Guest(number, tally))
                hub.deliver(hub.request_link_up("guest", str(number)), EVENT)
                guest.request_link_up("bench", "hub")
                taken += hub.deliver(resident, EVENT)
                guests.append(guest)
            for guest in guests:
                guest.request_exit()
            for guest in guests:
                await guest.wait_exited()
        await wait_all_tasks_blocked()
        spent = perf_counter_ns() - start
        (link,) = graph.snapshot().links
        verify("entered, handled, left", tally, [lives] * 3)
        verify("on_link_down of the hub", node.downs, lives)
        verify("handled by the resident", link.counts.handled, taken)
        verify("taken for the resident", taken, lives)
    return spent / lives


async def queue_churn(lives: int) -> float:
    """Nanoseconds for one task to come, handle an event and end."""
    handled = [0, 0]

    async def live(place: int, queue: asyncio.Queue[Event], count: int) -> None:
        for _ in range(count):
            await queue.get()
            handled[place] += 1

    residence: asyncio.Queue[Event] = asyncio.Queue()
    resident = asyncio.create_task(live(0, residence, lives))
    start = perf_counter_ns()
    for _ in range(0, lives, CROWD):
        guests = []
        for _ in range(CROWD):
            queue: asyncio.Queue[Event] = asyncio.Queue()
            guests.append(asyncio.create_task(live(1, queue, 1)))
            await queue.put(EVENT)
            await residence.put(EVENT)
        for guest in guests:
            await guest
    await resident
    spent = perf_counter_ns() - start
    verify("handled", handled, [lives, lives])
    return spent / lives
