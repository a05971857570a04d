"""Distribution: how often something had which size."""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily


class Distribution:
    """A histogram; for one thread, which so needs no lock."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """
        Args:
            bounds: upper ones of the buckets, rising, without the infinite one.
        """
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it was seen."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """As one more series of a family."""
        buckets: list[tuple[str, float]] = []
        total = 0
        names = (*(str(float(bound)) for bound in self._bounds), "+Inf")
        for name, count in zip(names, self._counts, strict=True):
            total += count
            buckets.append((name, total))
        family.add_metric(labels, buckets, self._sum)

    def metric(self, name: str, text: str) -> Metric:
        """As a family of its own."""
        family = HistogramMetricFamily(name, text)
        self.add_to(family)
        return family
