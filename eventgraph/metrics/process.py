"""What the process has open: beside memory, processor and descriptors, threads and tasks."""

import threading

import trio
from prometheus_client import GCCollector, Metric, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from eventgraph.metrics.collector import TrioCollector, gauge


class ThreadAndTaskCollector(TrioCollector):
    """Threads of Python, and tasks of this trio."""

    def read(self) -> list[Metric]:
        tasks = trio.lowlevel.current_statistics().tasks_living
        return [
            gauge("eventgraph_threads", "Threads of Python.", threading.active_count()),
            gauge("eventgraph_tasks", "Tasks of trio, its own included.", tasks),
        ]


def process_collectors(registry: CollectorRegistry) -> list[Collector]:
    """Register those of prometheus-client for the process, and the above.

    Not for the default registry, which has the first three already.
    """
    own = ThreadAndTaskCollector()
    registry.register(own)
    return [
        ProcessCollector(registry=registry),
        PlatformCollector(registry=registry),
        GCCollector(registry=registry),
        own,
    ]
