"""Handling: a followed event in the hands of a node; what the node delivers meanwhile goes on."""

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.trace import Span

from eventgraph.event import TraceContext
from eventgraph.link import Link
from eventgraph.listening import Entry, listen, stop_listening
from eventgraph.member import Member
from eventgraph.telemetry.spans import Branch, context_of, fail, traceparent

GoOn = Callable[[Branch, Context, Entry, int, int], object]
"""Is told of each delivery: the branch, under which span, entry, events ahead of it, when."""


class Handling:
    """From when it begins until `end`, the node's output links are listened to."""

    __slots__ = ("_branch", "_context", "_go_on", "_hear", "_left", "_links", "_span")

    def __init__(self, branch: Branch, member: Member, span: Span, go_on: GoOn) -> None:
        self._branch = branch
        self._span = span
        self._context = context_of(span)
        self._go_on = go_on
        self._left: int | None = None  # when it was handed on, the last time
        self._hear = self._on_entry  # one object
        self._links: tuple[Link, ...] = tuple(member.outputs.up.values())
        for link in self._links:
            listen(link, self._hear)

    def _on_entry(self, entry: Entry, ahead: int) -> None:
        self._left = self._branch.now()
        self._go_on(self._branch, self._context, entry, ahead, self._left)

    def depart(self) -> TraceContext:
        """It leaves the graph, now."""
        self._left = self._branch.now()
        return TraceContext(traceparent(self._span), self._left)

    def end(self, why: str | None = None) -> None:
        """The node is done with it.

        Args:
            why: it failed.
        """
        for link in self._links:
            stop_listening(link, self._hear)
        ended = self._left
        if ended is None or why is not None:
            ended = self._branch.now()
        if why is not None:
            fail(self._span, why)
        self._span.end(ended)
        self._branch.step_ends(ended)
