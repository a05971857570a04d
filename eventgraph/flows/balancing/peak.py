"""The peak of the recent past, in little memory."""

from collections import deque
from typing import Final

SLOTS: Final = 16  # of a window; a peak is forgotten at most one of them too late


class RecentPeak:
    """The highest value within the last ``window`` seconds.

    Who oscillates faster than that counts with the top of his swing, whenever he is looked at.
    """

    __slots__ = ("_slot", "_slots")

    def __init__(self, window: float) -> None:
        self._slot = window / SLOTS
        self._slots: deque[tuple[int, float]] = deque(maxlen=SLOTS + 1)

    def add(self, value: float, now: float) -> None:
        """Take in what was measured at ``now`` (seconds, monotonic)."""
        index = int(now // self._slot)
        if self._slots and self._slots[-1][0] == index:
            value = max(value, self._slots.pop()[1])
        self._slots.append((index, value))

    def at_least(self, value: float, now: float) -> float:
        """The peak, or ``value`` if nothing was higher."""
        oldest = int(now // self._slot) - SLOTS
        while self._slots and self._slots[0][0] < oldest:
            self._slots.popleft()
        return max([value, *(peak for _, peak in self._slots)])
