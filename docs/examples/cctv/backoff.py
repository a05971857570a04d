"""Backoff: how long to wait before trying again. No clock, no I/O."""

import random as _random
from collections.abc import Callable


class Backoff:
    """Waits that double, up to a limit.

    Each is drawn from its upper half: cameras that died together (a switch, a power cut) are not
    all asked again at the same moment.
    """

    __slots__ = ("_first", "_limit", "_next", "_random")

    def __init__(
        self, first: float, limit: float, random: Callable[[], float] = _random.random
    ) -> None:
        """
        Args:
            first, limit: seconds.
            random: gives 0 <= x < 1.
        """
        self._first = first
        self._limit = limit
        self._random = random
        self._next = first

    def wait(self) -> float:
        """Seconds until the next attempt."""
        wait = min(self._next, self._limit)
        self._next = min(2 * wait, self._limit)
        return wait * (1 + self._random()) / 2

    def reset(self) -> None:
        """It worked."""
        self._next = self._first
