"""LagCollector: how late timers fire, which is how long everything in the thread waits.

Sockets, timers and the graph's dispatcher share one thread. A heartbeat that sleeps for a known
time and looks how late it woke sees what all of them feel, whoever caused it.
"""

from typing import Final

import trio
from prometheus_client import Metric

from eventgraph.metrics.collector import TrioCollector
from eventgraph.metrics.distribution import Distribution

INTERVAL: Final = 0.1
"""Seconds between two beats: a stall of as long is never missed."""
BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds; a packet of sound is 0.02."""


class LagCollector(TrioCollector):
    """Measures as long as `run` runs.

    Attributes:
        latest: seconds by which the last beat was late.
    """

    def __init__(self) -> None:
        super().__init__()
        self.latest = 0.0
        self._late = Distribution(BOUNDS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + INTERVAL
            await trio.sleep_until(due)
            self.latest = max(0.0, trio.current_time() - due)
            self._late.observe(self.latest)

    def read(self) -> list[Metric]:
        return [
            self._late.metric(
                "eventgraph_lag_seconds",
                "How late a timer of the graph's thread fired.",
            )
        ]
