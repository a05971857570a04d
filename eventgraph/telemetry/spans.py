"""Branch: writes the spans of one trace, as far as one graph goes, by one clock."""

from collections.abc import Callable, Mapping
from time import perf_counter_ns, time_ns
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from eventgraph.event import TraceContext
from eventgraph.member import Member

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"
_NOBODY: Final = Context()


class Spans:
    """Starts and ends them. What a provider raises then is no node's fault, and none notices.

    Args:
        failed: is told of it.
    """

    def __init__(self, tracer: Tracer, failed: Callable[[Exception], object]) -> None:
        self._tracer = tracer
        self._failed = failed

    def start(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
        start: int,
    ) -> Span:
        """A span; if that fails, one that stands for its parent, and is not recorded."""
        try:
            return self._tracer.start_span(name, parent, kind, attributes, start_time=start)
        except Exception as error:  # samplers and processors are not ours
            self._failed(error)
            return NonRecordingSpan(get_current_span(parent).get_span_context())

    def end(self, span: Span, now: int | None, why: str | None) -> None:
        """As ``Branch.end``."""
        try:
            if why is not None:
                span.set_status(StatusCode.ERROR, why)
            span.end(now)
        except Exception as error:  # processors are not ours
            self._failed(error)


class Branch:
    """Times are nanoseconds since the epoch, and do not jump when the system's clock does.

    Attributes:
        context: in which its first spans are made.
        steps: so many were begun.
    """

    def __init__(self, spans: Spans) -> None:
        self.context = _NOBODY
        self.steps = 0
        self._spans = spans
        self._epoch = time_ns() - perf_counter_ns()
        self._root: Span | None = None
        self._open = 0  # steps that have not ended
        self._latest = 0

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return self._epoch + perf_counter_ns()

    def begin(self, sender: Member, cmd: object) -> bool:
        """A trace begins here, with a step that ends when it has gone to all; if it is wanted."""
        more = {"eventgraph.cmd": _number(cmd)}
        root = self._start(f"event of {sender.address}", sender, "event", _NOBODY, self.now(), more)
        self.context = context_of(root)
        if not root.is_recording():
            return False
        self._root = root
        self.step_begins()
        return True

    def go_on(self, member: Member, trace: TraceContext) -> Span | None:
        """A trace goes on here, in the hands of the node that it came to; None: not wanted."""
        now = self.now()
        sender = _PROPAGATOR.extract({_HEADER: trace.parent}, _NOBODY)
        if sender is _NOBODY:
            return None
        sent = min(trace.sent, now)  # the clocks of two machines may differ
        wire = self._start(f"to {member.address}", member, "wire", sender, sent)
        recorded = wire.is_recording()
        self.end(wire, now)
        return self.handling(member, context_of(wire), now) if recorded else None

    def waiting(self, member: Member, parent: Context, since: int, ahead: int) -> Span:
        """It is in the channel of a node, behind so many others."""
        more = {"eventgraph.ahead": ahead}
        return self._start(f"queue of {member.address}", member, "queue", parent, since, more)

    def handling(self, member: Member, parent: Context, began: int) -> Span:
        """A node has it in hand."""
        return self._start(str(member.address), member, "handler", parent, began)

    def end(self, span: Span, now: int | None, why: str | None = None) -> None:
        """A span is over.

        Args:
            why: something went wrong in it.
        """
        self._spans.end(span, now, why)

    def step_begins(self) -> None:
        """It is on its way to a node."""
        self.steps += 1
        self._open += 1

    def step_ends(self, now: int) -> None:
        """That is over. When all are, the trace has ended in this graph."""
        self._open -= 1
        self._latest = max(self._latest, now)
        if not self._open and self._root is not None:
            self.end(self._root, self._latest or None)
            self._root = None

    def _start(  # noqa: PLR0917  # as of one table
        self,
        name: str,
        member: Member,
        phase: str,
        parent: Context,
        start: int,
        more: Mapping[str, int] = {},
    ) -> Span:
        kind = SpanKind.CONSUMER if phase == "wire" else SpanKind.INTERNAL
        attributes: dict[str, AttributeValue] = {
            "eventgraph.phase": phase,
            "eventgraph.scope": member.address.scope,
            "eventgraph.node": member.address.name,
            "eventgraph.type": member.type_name,
            **more,
        }
        return self._spans.start(name, parent, kind, attributes, start)


def context_of(span: Span) -> Context:
    """In which spans are its children."""
    return set_span_in_context(span, _NOBODY)


def traceparent(span: Span) -> str:
    """As other processes are told (W3C Trace Context §3.2)."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context_of(span))
    return carrier[_HEADER]


def _number(cmd: object) -> int:
    """OpenTelemetry has 64 bits; -1: it is none that fits."""
    return cmd if isinstance(cmd, int) and cmd.bit_length() < 64 else -1
