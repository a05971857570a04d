"""Handling: a followed event in the hands of a node; what the node delivers meanwhile goes on."""

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.trace import Span

from eventgraph.event import Event, TraceContext
from eventgraph.link import Vertex
from eventgraph.member import Member
from eventgraph.telemetry.outlets import Outlets
from eventgraph.telemetry.spans import Branch, context_of, traceparent

GoOn = Callable[[Vertex, Event, int, Branch, Context, int], object]
"""Is told of each delivery: as `outlets.Hear`, the branch, under which span, and when."""


class Handling:
    """From when it begins until `end`, what the node delivers is heard."""

    __slots__ = ("_began", "_branch", "_context", "_go_on", "_left", "_outlets", "_span")

    def __init__(self, branch: Branch, member: Member, span: Span, go_on: GoOn) -> None:
        self._began = branch.now()
        self._branch = branch
        self._span = span
        self._context = context_of(span)
        self._go_on = go_on
        self._left: int | None = None  # when it was handed on, the last time
        self._outlets = Outlets(member, self._hear)

    def _hear(self, receiver: Vertex, event: Event, ahead: int) -> None:
        self._left = self._branch.now()
        self._go_on(receiver, event, ahead, self._branch, self._context, self._left)

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return (self._branch.now() - self._began) / 1e9

    def depart(self) -> TraceContext:
        """It leaves the graph, now."""
        self._left = self._branch.now()
        return TraceContext(traceparent(self._span), self._left)

    def end(self, why: str | None = None) -> None:
        """The node is done with it.

        Args:
            why: it failed.
        """
        self._outlets.close()
        ended = self._left
        if ended is None or why is not None:
            ended = self._branch.now()
        self._branch.end(self._span, ended, why)
        self._branch.step_ends(ended)
