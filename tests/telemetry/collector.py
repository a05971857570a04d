"""A collector: takes OTLP over HTTP, and keeps the spans."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


class Span(NamedTuple):
    """One that came; times in nanoseconds since the epoch."""

    start: int
    end: int
    phase: str
    name: str
    service: str
    trace: bytes
    id: bytes
    parent: bytes


class Collector:
    """Made by `collecting`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    def trace(self, phases: list[str]) -> list[Span] | None:
        """The spans of a trace that has just these phases, in the order in which they began."""
        traces: dict[bytes, list[Span]] = {}
        for span in list(self.spans):
            traces.setdefault(span.trace, []).append(span)
        for spans in traces.values():
            parts = sorted(span for span in spans if span.phase != "event")
            if [span.phase for span in parts] == phases:
                return parts
        return None

    def take(self, body: bytes) -> None:
        """A request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _text(resource.resource.attributes, "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            _text(span.attributes, "eventgraph.phase"),
                            span.name,
                            service,
                            span.trace_id,
                            span.span_id,
                            span.parent_span_id,
                        )
                    )


def _text(attributes: Iterable[KeyValue], key: str) -> str:
    return next(each.value.string_value for each in attributes if each.key == key)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(body)
            self.send_response(200)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        collector.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
