"""Where the time goes along a route: what many traces say together. Plain data."""

from collections.abc import Mapping, Sequence

import msgspec

from eventgraph.event import Address
from eventgraph.tracing import Trace


class Spread(msgspec.Struct, frozen=True):
    """Seconds, of many events."""

    mean: float
    p50: float
    p99: float
    max: float


class HopTimes(msgspec.Struct, frozen=True):
    """One node of the route."""

    node: Address
    waited: Spread
    handled: Spread


class RouteTimes(msgspec.Struct, frozen=True):
    """All of the route.

    Attributes:
        sender: who delivers to the first hop.
        probes: events that were followed all the way.
        missed: those that were not, by reason.
        end_to_end: of each event as a whole. Where a hop ends the next begins, by one reading of
            the clock, so nothing is missing between them.
    """

    sender: Address
    probes: int
    missed: dict[str, int]
    hops: list[HopTimes] = []
    end_to_end: Spread | None = None

    @property
    def sum(self) -> float:
        """Seconds: the means of all hops together. Means add up; percentiles do not."""
        return sum(hop.waited.mean + hop.handled.mean for hop in self.hops)


def route_times(
    route: Sequence[Address], traces: Sequence[Trace], missed: Mapping[str, int]
) -> RouteTimes:
    """What they say."""
    if not traces:
        return RouteTimes(route[0], 0, dict(missed))
    hops = [
        HopTimes(
            node,
            _spread([trace.hops[place].waited for trace in traces]),
            _spread([trace.hops[place].handled for trace in traces]),
        )
        for place, node in enumerate(route[1:])
    ]
    whole = _spread([trace.took for trace in traces])
    return RouteTimes(route[0], len(traces), dict(missed), hops, whole)


def _spread(seconds: list[float]) -> Spread:
    seconds.sort()
    count = len(seconds)
    p50, p99 = seconds[count // 2], seconds[min(count - 1, int(count * 0.99))]
    return Spread(sum(seconds) / count, p50, p99, seconds[-1])
