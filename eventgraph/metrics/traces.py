"""TraceCollector: how many events are followed as OpenTelemetry traces, and what became of them."""

from collections.abc import Mapping
from typing import Protocol

from prometheus_client import Metric

from eventgraph.metrics.collector import TrioCollector, counters


class TraceCounts(Protocol):
    """What `eventgraph.telemetry.EventFollower` counts."""

    @property
    def begun(self) -> int: ...
    @property
    def continued(self) -> int: ...
    @property
    def missed(self) -> Mapping[str, int]: ...


class TraceCollector(TrioCollector):
    """Shows one follower."""

    def __init__(self, counts: TraceCounts | None) -> None:
        """
        Args:
            counts: None: nothing is followed.
        """
        super().__init__()
        self._counts = counts

    def read(self) -> list[Metric]:
        counts = self._counts
        begun: dict[tuple[str, ...], float] = {("here",): 0, ("elsewhere",): 0}
        missed: dict[tuple[str, ...], float] = {}
        if counts is not None:
            begun = {("here",): counts.begun, ("elsewhere",): counts.continued}
            missed = {(reason,): count for reason, count in counts.missed.items()}
        return [
            counters("eventgraph_traces", "Events that were followed.", "origin", begun),
            counters(
                "eventgraph_traces_missed",
                "Ways of events that were not followed to their end.",
                "reason",
                missed,
            ),
        ]
