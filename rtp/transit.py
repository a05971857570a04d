"""TransitWindow: how long packets take through the network, of late, and how much that varies.

A sorted list kept by `bisect`, and a deque for the order of arrival: 0.5 µs a packet, where
`SortedList` takes 1.7; a histogram that forgets, as NetEQ has it, needs its bins searched and
shifted whenever the fastest way changes.
"""

from bisect import bisect_left, insort
from collections import deque
from math import inf
from typing import Final

WINDOW: Final = 4.0
"""Seconds of transit times that count: about 200 packets, of which 3 % are still a few. After the
route has become slower, or by drift, it takes so long until the fastest way is forgotten."""
SPARSE: Final = 50
"""Transit times that are kept for longer if there are no newer ones: after a stall or silence there
would be nothing to measure by."""
STALE: Final = 30.0
"""Seconds after which they are not kept either: by drift they may be 6 ms wrong (200 ppm)."""
QUANTILE: Final = 0.97
"""Share of packets that `spread` is enough for."""


class TransitWindow:
    """The transit times (arrival minus timestamp) of about the last `WINDOW` seconds.

    Both results move with a drift between the clocks and with a change of route.

    Attributes:
        fastest: the smallest (seconds, on the scale of what is added).
        spread: by how much the packet at `QUANTILE` is slower (seconds).
    """

    __slots__ = ("_arrivals", "_burst", "_last", "_sorted", "fastest", "spread")

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []
        self._last = -inf
        self._burst = 0
        self.fastest = 0.0
        self.spread = 0.0

    def add(self, transit: float, now: float, *, bunched_within: float) -> None:
        """Count a packet.

        A stall delivers all that it held up at once. That is one event, not a habit of the
        network: of what comes bunched only so many count that a single stall does not reach
        the quantile; a second one in the window does.

        Args:
            transit: seconds, on any scale.
            now: time of arrival (seconds).
            bunched_within: seconds after the packet before.
        """
        since_last = now - self._last
        self._last = now
        ordered = self._sorted
        if since_last >= bunched_within:
            self._burst = 0
        else:
            self._burst += 1
            if self._burst >= len(ordered) >> 6:  # 1.5 % of the window, half of what is left out
                return
        arrivals = self._arrivals
        arrivals.append((now, transit))
        insort(ordered, transit)
        while now - arrivals[0][0] > (WINDOW if len(ordered) > SPARSE else STALE):
            del ordered[bisect_left(ordered, arrivals.popleft()[1])]
        self.fastest = ordered[0]
        self.spread = ordered[int(len(ordered) * QUANTILE)] - ordered[0]
