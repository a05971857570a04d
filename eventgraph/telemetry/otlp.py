"""OTLP: sends spans to a collector, by the OpenTelemetry Protocol over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TIMEOUT: Final = 1.0
"""Seconds that the collector has for a batch; then it is dropped, and the log says so."""
DELAY: Final = 2.0
"""Seconds at most until a span is sent."""
WAITING: Final = 2048
"""Spans that wait to be sent; what comes then is dropped, and the log says so."""


@asynccontextmanager
async def open_otlp(endpoint: str, service: str = "eventgraph") -> AsyncIterator[TracerProvider]:
    """A provider whose spans a thread of its own sends; at the end it sends what is left.

    The environment variables of OpenTelemetry say the rest: ``OTEL_TRACES_SAMPLER``,
    ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_EXPORTER_OTLP_HEADERS``, and so on.

    Args:
        endpoint: URL of the collector, such as ``http://127.0.0.1:4318/v1/traces``.
        service: what the collector calls this process, unless the environment says it.
    """
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT)
    said = OTELResourceDetector().detect().attributes.get(SERVICE_NAME, service)
    resource = Resource.create({SERVICE_NAME: said})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, max_queue_size=WAITING, schedule_delay_millis=int(DELAY * 1000)
        )
    )
    try:
        yield provider
    finally:
        with trio.CancelScope(shield=True):  # bounded: the collector has `TIMEOUT`
            await trio.to_thread.run_sync(provider.shutdown)
