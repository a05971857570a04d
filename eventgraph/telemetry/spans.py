"""Branch: writes the spans of one trace, as far as one graph goes, by one clock."""

from time import perf_counter_ns, time_ns
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from eventgraph.event import TraceContext
from eventgraph.member import Member

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"
_NOBODY: Final = Context()


class Branch:
    """Times are nanoseconds since the epoch, and do not jump when the system's clock does.

    Attributes:
        context: in which its first spans are made.
    """

    def __init__(self, tracer: Tracer) -> None:
        self.context = _NOBODY
        self._tracer = tracer
        self._epoch = time_ns() - perf_counter_ns()
        self._root: Span | None = None
        self._steps = 0
        self._latest = 0

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return self._epoch + perf_counter_ns()

    def begin(self, sender: Member, cmd: object) -> bool:
        """A trace begins here, with a step that ends when it has gone to all; if it is wanted."""
        root = self._start(f"event of {sender.address}", sender, "event", _NOBODY, self.now())
        root.set_attribute("eventgraph.cmd", _number(cmd))
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
        wire.end(now)
        return self.handling(member, context_of(wire), now) if recorded else None

    def waiting(self, member: Member, parent: Context, since: int, ahead: int) -> Span:
        """It is in the channel of a node, behind so many others."""
        span = self._start(f"queue of {member.address}", member, "queue", parent, since)
        span.set_attribute("eventgraph.ahead", ahead)
        return span

    def handling(self, member: Member, parent: Context, began: int) -> Span:
        """A node has it in hand."""
        return self._start(str(member.address), member, "handler", parent, began)

    def step_begins(self) -> None:
        """It is on its way to a node."""
        self._steps += 1

    def step_ends(self, now: int) -> None:
        """That is over. When all are, the trace has ended in this graph."""
        self._steps -= 1
        self._latest = max(self._latest, now)
        if not self._steps and self._root is not None:
            self._root.end(self._latest or None)
            self._root = None

    def _start(self, name: str, member: Member, phase: str, parent: Context, start: int) -> Span:
        kind = SpanKind.CONSUMER if phase == "wire" else SpanKind.INTERNAL
        attributes: dict[str, AttributeValue] = {
            "eventgraph.phase": phase,
            "eventgraph.scope": member.address.scope,
            "eventgraph.node": member.address.name,
            "eventgraph.type": member.type_name,
        }
        return self._tracer.start_span(name, parent, kind, attributes, start_time=start)


def context_of(span: Span) -> Context:
    """In which spans are its children."""
    return set_span_in_context(span, _NOBODY)


def traceparent(span: Span) -> str:
    """As other processes are told (W3C Trace Context §3.2)."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context_of(span))
    return carrier[_HEADER]


def fail(span: Span, why: str) -> None:
    """Say what went wrong in it."""
    span.set_status(StatusCode.ERROR, why)


def _number(cmd: object) -> int:
    """OpenTelemetry has 64 bits; -1: it is none that fits."""
    return cmd if isinstance(cmd, int) and cmd.bit_length() < 64 else -1
