"""RecordingClock: where in a file sound and pictures belong, though their clocks share nothing.

The timestamps of two tracks begin anywhere and run on different clocks. What they have in common
is the time of arrival. Of each source the fastest transit of the last seconds is taken
(`TransitWindow`), so neither jitter nor a burst moves anything:

    timestamp + fastest transit     when this would have arrived on the fastest way
                  - zero            its place in the file

Sound must have no seams, so its offset is fixed when a source begins; if the fastest transit then
changes, by drift, by congestion or because the first packets were slow, it is `zero` that moves,
and pictures follow. Sound is the file's clock. Only a sender that stopped its clock or set it gives
sound a new offset.

Sender reports (RFC 3550 §6.4.1) would tell the true capture times and so take out the different
ways that sound and pictures go before they are sent; within the graph they do not travel.
"""

from typing import Final

from ..transit import TransitWindow

STEP: Final = 0.1
"""Seconds by which a packet may be slower than the fastest and count as normal."""
SETTLED: Final = 1.0
"""Seconds after a pause for which all must be slow, so that it was no stall."""
OTHER_CLOCK: Final = 1.0
"""Seconds that timestamps may go back, or get ahead of arrival, before it is another clock."""


class _Source:
    """The transit times of one source."""

    __slots__ = ("_arrival", "_slow_since", "_slowly", "_time", "_window")

    def __init__(self) -> None:
        self._window = TransitWindow()
        self._time: float | None = None  # of the last
        self._arrival = 0.0
        self._slow_since: float | None = None
        self._slowly = 0.0  # the fastest transit since then

    @property
    def fastest(self) -> float:
        """Seconds from timestamp to arrival, on the fastest way of late."""
        return self._window.fastest

    def note(self, time: float, arrival: float) -> bool:
        """Count something with a timestamp (seconds); whether its clock was set or had stopped.

        A clock that had stopped and a stall of the network look alike at first: nothing came, and
        then what comes is slow. After a stall the rest comes at once, and is not slow for long.
        """
        transit = arrival - time
        pause = arrival - self._arrival
        last, self._time, self._arrival = self._time, time, arrival
        begins_anew = last is not None and time < last - OTHER_CLOCK
        if begins_anew:
            self._begin_at(transit, arrival)
        elif last is None or transit <= self.fastest + STEP:
            self._slow_since = None
        elif self._slow_since is None:
            if pause > (transit - self.fastest) / 2:
                self._slow_since, self._slowly = arrival, transit
        else:
            self._slowly = min(self._slowly, transit)
            begins_anew = arrival - self._slow_since >= SETTLED
            if begins_anew:
                self._begin_at(self._slowly, arrival)
        self._window.add(transit, arrival, bunched_within=0.0)
        return begins_anew

    def _begin_at(self, transit: float, arrival: float) -> None:
        self._window = TransitWindow()
        self._window.add(transit, arrival, bunched_within=0.0)
        self._slow_since = None


class RecordingClock:
    """Turns timestamps of sound and pictures into seconds of one file."""

    __slots__ = ("_picture", "_sound", "_sound_offset", "_zero")

    def __init__(self) -> None:
        self._zero: float | None = None  # arrival of what is at 0 in the file
        self._sound = _Source()
        self._sound_offset: float | None = None
        self._picture = _Source()

    def begin_sound(self) -> None:
        """What follows is of another source, with another clock."""
        self._sound = _Source()
        self._sound_offset = None

    def begin_picture(self) -> None:
        """Likewise."""
        self._picture = _Source()

    def place_sound(self, time: float, arrival: float) -> float:
        """The place of sound in the file (seconds); exactly as far from the last as timestamps say,
        unless there was a step.

        Args:
            time: of its timestamp (seconds, past rollovers).
            arrival: seconds.
        """
        begins_anew = self._sound.note(time, arrival)
        fastest = self._sound.fastest
        if self._zero is None:
            self._zero = arrival
        if self._sound_offset is None or begins_anew:
            self._sound_offset = fastest - self._zero
        slower = fastest - self._zero - self._sound_offset
        if slower >= -OTHER_CLOCK:
            self._zero += slower
        else:
            self._sound_offset = fastest - self._zero
        return time + self._sound_offset

    def join_sound(self, time: float, place: float) -> None:
        """The sound with this timestamp was put at another place: go on from there."""
        self._sound_offset = place - time

    def place_picture(self, time: float, arrival: float) -> float:
        """The place of a picture in the file (seconds); may go back a little.

        Args:
            time: of its timestamp (seconds, past rollovers).
            arrival: seconds.
        """
        self._picture.note(time, arrival)
        if self._zero is None:
            self._zero = arrival
        return max(0.0, time + self._picture.fastest - self._zero)
