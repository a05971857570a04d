"""The times of a route as text."""

from collections.abc import Iterator

from eventgraph.hop_times import RouteTimes, Spread

COLUMNS = ("mean", "p50", "p99", "max")


def to_text(times: RouteTimes) -> str:
    """A table with two lines for each hop, in microseconds; the means add up to the last."""
    return "\n".join(_lines(times)) + "\n"


def _lines(times: RouteTimes) -> Iterator[str]:
    whole = times.end_to_end
    assert whole is not None  # at least one probe
    names = [str(times.sender), *(str(hop.node) for hop in times.hops)]
    width = max(*map(len, names), len("end to end")) + 2
    yield f"{times.probes} events from {times.sender}, in µs" + "".join(
        f"; {count} {reason}" for reason, count in sorted(times.missed.items())
    )
    yield f"{'':{width + 8}}" + "".join(f"{column:>10}" for column in COLUMNS)
    for hop in times.hops:
        yield f"{hop.node!s:{width}}{'queue':8}{_cells(hop.waited)}"
        yield f"{'':{width}}{'handler':8}{_cells(hop.handled)}"
    yield f"{'sum of all':{width + 8}}{times.sum * 1e6:10,.1f}"
    yield f"{'end to end':{width + 8}}{_cells(whole)}"
    yield f"{'difference':{width + 8}}{abs(1 - times.sum / whole.mean):10.2%}"


def _cells(spread: Spread) -> str:
    values = (spread.mean, spread.p50, spread.p99, spread.max)
    return "".join(f"{seconds * 1e6:10,.1f}" for seconds in values)
