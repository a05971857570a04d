"""Latencies of several rounds in one HDR histogram: three significant digits from 1 ns to 100 s."""

from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

from benchmarks.result import Percentiles

LONGEST: Final = 100 * 10**9  # ns; what took longer counts as this
DIGITS: Final = 3
STEPS_A_DECADE: Final = 8  # of a percentile curve
DECADES: Final = 5  # up to 99.999 %


class Recording:
    """All rounds of one candidate at one load."""

    def __init__(self) -> None:
        self.total = HdrHistogram(1, LONGEST, DIGITS)
        self.tails: list[float] = []

    def add_round(self, latencies: Iterable[int]) -> None:
        """Record the latencies of one round, in ns."""
        one = HdrHistogram(1, LONGEST, DIGITS)
        for latency in latencies:
            one.record_value(min(max(latency, 1), LONGEST))
        p50, p99 = (one.get_value_at_percentile(percentile) for percentile in (50, 99))
        self.tails.append(p99 / p50)
        self.total.add(one)

    def at(self, percentile: float) -> float:
        """The latency, in ns, that so many percent did not exceed."""
        return float(self.total.get_value_at_percentile(percentile))

    def result(
        self, name: str, candidate: str, load: float, rate: float, goal: float | None
    ) -> Percentiles:
        """All that is reported of it."""
        steps = range(STEPS_A_DECADE * DECADES + 1)
        grid = [100 * (1 - 10 ** (-step / STEPS_A_DECADE)) for step in steps]
        return Percentiles(
            name=name,
            candidate=candidate,
            load=load,
            rate=rate,
            count=self.total.get_total_count(),
            p50=self.at(50),
            p90=self.at(90),
            p99=self.at(99),
            p999=self.at(99.9),
            max=float(self.total.get_max_value()),
            curve=[(percentile, self.at(percentile)) for percentile in grid],
            tails=self.tails,
            goal=goal,
        )
