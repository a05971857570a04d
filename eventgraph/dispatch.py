"""The dispatcher: one task that runs the hooks of all plain nodes.

Why not a task and a channel for each node: waking a trio task costs as much as thirty
deliveries. Here a delivery to a busy graph appends to a deque, and only the first one to
an idle graph wakes a task.

Fairness comes from two bounds. A node has a turn of at most TURN_EVENTS events, then goes
to the back of the ready-queue. The dispatcher works for one SLICE, then lets trio serve
sockets, timers and other tasks. The clock is read once a turn; only a node whose last turn
alone outlasted a slice has it read after each event, and its turn cut short.
"""

from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Protocol

import trio

from eventgraph.parking import ParkedTask

TURN_EVENTS = 64  # spreads the cost of a turn: with 32 an event of a chain costs 5 ns more
SLICE = 0.001  # seconds; sockets wait no longer than this plus one turn


class Ready(Protocol):
    """What stands in the ready-queue."""

    slow: bool  # its last turn outlasted a slice

    def turn(self) -> None:
        """Run hooks for a bounded time; come back to the ready-queue or park."""

    def crash(self, error: BaseException) -> None:
        """Deal with what a hook raised, or raise it again if it has to pass."""


def steps_of_a_slice(count: int) -> Iterator[None]:
    """``count`` steps, or fewer: none begins when the slice is over."""
    end = perf_counter() + SLICE
    for _ in range(count):
        yield
        if perf_counter() > end:
            return


class Dispatcher:
    """The ready-queue and the task that drains it.

    Whoever appends to ``ready`` unparks ``parking`` if a task is there.
    """

    __slots__ = ("_scope", "parking", "ready")

    def __init__(self) -> None:
        self.ready: deque[Ready] = deque()
        self.parking = ParkedTask()
        self._scope = trio.CancelScope(shield=True)

    def run_for(self, seconds: float) -> None:
        """Give turns until the queue is empty or the time is up: for plain nodes, the one
        place that catches what user code raises."""
        ready, clock = self.ready, perf_counter
        now = clock()
        end = now + seconds
        while ready:
            node = ready.popleft()
            try:
                node.turn()
            except BaseException as error:
                node.crash(error)
            began, now = now, clock()
            if now > end:
                node.slow = now - began > SLICE
                break

    async def run(self) -> None:
        """Drain the ready-queue until ``stop``.

        Shielded: when the graph's owner is cancelled, it may still be cleaning up, and wait
        for nodes that exit.
        """
        with self._scope:
            while True:
                self.run_for(SLICE)
                if self.ready:
                    await trio.lowlevel.checkpoint()
                else:
                    await self.parking.park()

    def stop(self) -> None:
        """End ``run``."""
        self._scope.cancel()
