"""One hop, saturated: what it costs to hand one event to one node, with accounting on.

    driver --> node

A chain of one: see there for how it is driven, verified, and for the baselines.
"""

from benchmarks.chain import candidates
from benchmarks.measure import Case


def cases(events: int) -> list[Case]:
    """What one event costs."""
    return [Case("one hop", *candidates(1, events), {"asyncio.Queue": 0.32})]
