"""LogCollector: how much is logged."""

from prometheus_client import Metric

from eventgraph.metrics.collector import TrioCollector, counters

from ..logs.levels import LEVELS
from ..logs.output import LogOutput


class LogCollector(TrioCollector):
    """Counts records."""

    def __init__(self, log: LogOutput) -> None:
        super().__init__()
        self._log = log

    def read(self) -> list[Metric]:
        written = {(level,): self._log.written[level] for level in (*LEVELS, "critical")}
        unwritten = {(why,): self._log.unwritten[why] for why in ("storm", "full", "closed")}
        return [
            counters("eventgraph_log_records", "Records of the log.", "level", written),
            counters(
                "eventgraph_log_records_unwritten",
                "Records that were wanted, and not written.",
                "reason",
                unwritten,
            ),
        ]
