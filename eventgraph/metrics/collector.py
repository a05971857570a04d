"""Collector: what Prometheus asks, in whatever thread, is read in the thread of trio."""

import threading
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TypeVar

import trio
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from eventgraph.slices import Steps, at_once, in_slices

Labels = TypeVar("Labels", bound=tuple[str, ...])


class TrioCollector(Collector):
    """A collector that is made and read in trio's thread, and may be asked in any.

    When trio has ended there is nothing to be told.
    """

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._asked = threading.Lock()  # one thread at a time: in slices they would mix

    @abstractmethod
    def read(self) -> list[Metric]:
        """All there is, now; called in the thread of trio."""

    def read_steps(self) -> Steps[list[Metric]]:
        """The same, bit by bit; done in slices if it is asked for in another thread."""
        yield from ()
        return self.read()

    def collect(self) -> Iterable[Metric]:
        try:
            here: trio.lowlevel.TrioToken | None = trio.lowlevel.current_trio_token()
        except RuntimeError:
            here = None
        if here is self._token:
            return self.read()
        try:
            with self._asked:
                return trio.from_thread.run(in_slices, self.read_steps(), trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            return []


class SlicedCollector(TrioCollector):
    """One that looks at so much that others are to have their turns meanwhile."""

    def read(self) -> list[Metric]:
        return at_once(self.read_steps())

    @abstractmethod
    def read_steps(self) -> Steps[list[Metric]]: ...


def gauge(name: str, text: str, value: float) -> Metric:
    """One number that goes up and down."""
    return GaugeMetricFamily(name, text, value)


def gauges(name: str, text: str, labels: str, values: Mapping[Labels, float]) -> Metric:
    """Such numbers, by what their labels (their names, apart by spaces) say."""
    family = GaugeMetricFamily(name, text, labels=labels.split())
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    """One number that only goes up; its name is without ``_total``."""
    return CounterMetricFamily(name, text, value)


def counters(name: str, text: str, labels: str, values: Mapping[Labels, float]) -> Metric:
    """Such numbers, as `gauges`."""
    family = CounterMetricFamily(name, text, labels=labels.split())
    for key, value in values.items():
        family.add_metric(key, value)
    return family
