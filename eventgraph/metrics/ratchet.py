"""Ratchet: a total over things that come and go, each with a counter of its own.

The sum of those that are there would fall when one goes, which Prometheus takes for a restart of
the process. So what each has added since it was last looked at is kept. What it counts between
the last look and its end is seen only if somebody looks at the end.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)  # who counts
L = TypeVar("L", bound=Hashable)  # what


class Ratchet(Generic[K, L]):
    """Totals by what was counted.

    Attributes:
        totals: never fall.
    """

    def __init__(self) -> None:
        self.totals: Counter[L] = Counter()
        self._seen: dict[K, Mapping[L, float]] = {}

    def look(self, who: K, counts: Mapping[L, float]) -> dict[L, float]:
        """Take what somebody has counted so far; a count that fell began again from 0.

        Returns:
            what has been added.
        """
        before = self._seen.get(who, {})
        added: dict[L, float] = {}
        for what, count in counts.items():
            last = before.get(what, 0)
            added[what] = count - last if count >= last else count
            self.totals[what] += added[what]  # type: ignore[assignment]
        self._seen[who] = counts
        return added

    def highest(self, who: K, what: L, count: float) -> float:
        """What a count has been at the most: for one that falls now and then, and goes on."""
        return max(count, self._seen.get(who, {}).get(what, 0))

    def forget(self, who: K) -> None:
        """Somebody is gone; what was seen of them stays in the totals."""
        self._seen.pop(who, None)

    def forget_others(self, there: set[K]) -> None:
        """Only these are still there."""
        for who in self._seen.keys() - there:
            del self._seen[who]
