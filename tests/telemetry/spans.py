"""What a follower has written, as the tests look at it."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Recorded:
    """A provider, and the spans that it was asked to export."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def of(self, phase: str) -> list[ReadableSpan]:
        return [span for span in self.spans if phase_of(span) == phase]

    @property
    def traces(self) -> set[int]:
        return {span.context.trace_id for span in self.spans if span.context is not None}


def phase_of(span: ReadableSpan) -> object:
    assert span.attributes is not None
    return span.attributes["eventgraph.phase"]


def interval(span: ReadableSpan) -> tuple[int, int]:
    """Nanoseconds since the epoch."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    return (
        span.parent is not None
        and of.context is not None
        and span.parent.span_id == of.context.span_id
        and span.parent.trace_id == of.context.trace_id
    )
