"""EventFollower: takes a sample of the events of a graph, and writes where their time went.

    sender --> node --> node ==flow or pipe==> node --> node

A trace has a span for each time that the event was in a channel (*queue*), in the hands of a node
(*handler*), and between two processes (*wire*). Where one ends the next begins, by one reading of
the clock, so that along each way they add up to end to end::

    delivered        began         delivered on        began       sent        came      delivered
        |---- queue ----|--- handler ---|---- queue ----|- handler --|-- wire --|- handler -|---

What a node delivers while it handles a followed event is followed on, to every receiver, itself
among them. What it keeps and delivers later, as jitter buffers and mixers do, is not: the way ends
there.

The hot path does not know of it. Only while a node handles a followed event are the channels that
it may deliver into listened to (`eventgraph.listening`), and only a node to which one is on its way
is called through a wrapper. While nothing is followed, nothing is there.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Final, Self

import trio
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider, get_tracer

from eventgraph.busy_links import busy_links
from eventgraph.errors import NodeNotFoundError, TracerBusyError
from eventgraph.event import Address, Event, TraceContext
from eventgraph.graph import Graph
from eventgraph.link import Vertex
from eventgraph.member import Member
from eventgraph.runner import Runner
from eventgraph.telemetry.handling import Handling
from eventgraph.telemetry.origin import Origin
from eventgraph.telemetry.spans import Branch, Spans
from eventgraph.telemetry.stop import Stop

PATIENCE: Final = 10.0
"""Seconds after which an event that was not handled is given up."""
STEPS: Final = 1000
"""From node to node, of one event in a graph: in a circle, or out of a handler that never returns,
there is no end of them."""

logger = logging.getLogger("eventgraph")


class EventFollower:
    """Follows events of one graph; at most one in a graph::

        with EventFollower(graph) as follower:
            nursery.start_soon(follower.run)

    Attributes:
        begun: traces that began here.
        continued: events that were followed already when they came by a flow or a pipe.
        missed: what was not followed to its end, by reason: "full" (too many were under way),
            "rate" (too many came), "long" (`STEPS`), "lost" (not handled in time, or thrown away),
            "crashed"; and spans that the provider failed to make or to take, as "failed".
    """

    def __init__(
        self,
        graph: Graph,
        provider: TracerProvider | None = None,
        *,
        origins: Sequence[Address] = (),
        interval: float = 1.0,
        limit: int = 64,
        rate: int = 100,
        random: Random | None = None,
    ) -> None:
        """
        Args:
            provider: makes the spans, samples and exports them; by default the global one.
            origins: nodes with whose events traces begin; by default any that delivers some.
            interval: seconds, at least, from the beginning of a trace to that of the next.
            limit: of events under way at a time, with all that has become of them.
            rate: of events in a second that are followed already when they come.
            random: draws the nodes.
        Raises:
            ValueError: the interval is not above 0, the limit not above 0, or the rate negative.
        """
        if not interval > 0:
            raise ValueError(f"interval is {interval} s; it must be above 0")
        if limit < 1 or rate < 0:
            raise ValueError(f"limit is {limit}, at least 1; rate is {rate}, at least 0")
        self.begun = self.continued = 0
        self.missed: Counter[str] = Counter()
        self._graph = graph
        self._runtime = graph.runtime
        self._spans = Spans(get_tracer("eventgraph", tracer_provider=provider), self._failed)
        self._origins = tuple(origins)
        self._interval = interval
        self._limit = limit
        self._rate = rate
        self._random = random or Random()
        self._running = trio.CancelScope()
        self._stops: dict[Vertex, Stop] = {}
        self._under_way = 0
        self._second = self._came = 0

    def __enter__(self) -> Self:
        if self._runtime.follower is not None:
            raise TracerBusyError("this graph has a follower already: one at a time")
        self._runtime.follower = self
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._runtime.follower = None
        self._running.cancel()
        for stop in list(self._stops.values()):
            stop.close()

    async def run(self) -> None:
        """Begin a trace once in an interval, until cancelled or closed.

        Without it only those are followed that come from elsewhere.
        """
        with trio.CancelScope() as self._running:
            while self._open:
                origin = await self._draw()
                if origin is not None:
                    await self._sample(origin)
                self._give_up_late()

    @property
    def _open(self) -> bool:
        return self._runtime.follower is self

    async def _draw(self) -> Member | None:
        """With whose event the next trace is to begin; takes an interval."""
        if self._origins:
            await trio.sleep(self._interval)
            address = self._random.choice(self._origins)
        else:
            links = await busy_links(self._graph, self._interval, self._random)
            if not links:
                return None
            address = self._random.choice(sorted({sender for sender, _receiver in links}))
        try:
            vertex = self._runtime.topology.find(address)
        except NodeNotFoundError:
            return None
        assert isinstance(vertex, Member)
        return vertex

    async def _sample(self, origin: Member) -> None:
        """Follow what it delivers next, to all that get it at once."""
        first = Origin(self._spans, origin, self._go_on, lambda: self._may_begin(origin))
        try:
            with trio.move_on_after(self._interval):
                await first.begun.wait()
        finally:
            first.close()
            self.begun += first.followed

    # What is under way

    def departing(self, sender: Vertex) -> TraceContext | None:
        """What to send along, if the event that the node handles just now is followed."""
        stop = self._stops.get(sender)
        if stop is None or stop.handling is None:
            return None
        return stop.handling.depart()

    @contextmanager
    def arriving(self, receiver: Vertex, trace: TraceContext) -> Iterator[None]:
        """Within it, what the node delivers is what has come."""
        assert isinstance(receiver, Member)
        handling = self._arrive(receiver, trace)
        try:
            yield
        finally:
            if handling is not None:
                handling.end()

    def _arrive(self, member: Member, trace: TraceContext) -> Handling | None:
        second = int(trio.current_time())
        if second != self._second:
            self._second, self._came = second, 0
        self._came += 1
        if self._came > self._rate:
            self.missed["rate"] += 1
            return None
        branch = Branch(self._spans)
        span = branch.go_on(member, trace)
        if span is None:
            return None
        self.continued += 1
        branch.step_begins()
        return Handling(branch, member, span, self._go_on)

    def _may_begin(self, member: Member) -> bool:
        """Not while the node handles a followed event: that goes on."""
        stop = self._stops.get(member)
        return self._open and (stop is None or stop.handling is None)

    def _go_on(  # noqa: PLR0917  # as `GoOn`
        self,
        receiver: Vertex,
        event: Event,
        ahead: int,
        branch: Branch,
        parent: Context,
        now: int,
    ) -> None:
        """A followed event is being delivered to one more node."""
        if not self._open:
            return
        if branch.steps >= STEPS:
            self.missed["long"] += 1
            return
        if self._under_way >= self._limit:
            self._give_up_late()
        if self._under_way >= self._limit:
            self.missed["full"] += 1
            return
        assert isinstance(receiver, Runner)
        stop = self._stops.get(receiver)
        if stop is None:
            stop = self._stops[receiver] = Stop(receiver, self._go_on, self._step_ended)
        self._under_way += 1
        stop.expect(branch, parent, event, ahead, now)

    def _step_ended(self, stop: Stop, why: str | None) -> None:
        self._under_way -= 1
        if why is not None:
            self.missed[why] += 1
        if stop.idle and self._stops.pop(stop.runner, None) is not None:
            stop.close()

    def _failed(self, error: Exception) -> None:
        if not self.missed["failed"]:
            logger.warning("the provider of spans failed: %r; counted from now on", error)
        self.missed["failed"] += 1

    def _give_up_late(self) -> None:
        for stop in list(self._stops.values()):
            stop.give_up("lost", PATIENCE)
