"""Alarm: what one task waits for, and others set; it stays set until it was seen."""

from eventgraph.parking import ParkedTask


class Alarm:
    """Like an event that resets itself. For one waiting task; setting it never blocks."""

    __slots__ = ("_is_set", "_parked")

    def __init__(self) -> None:
        self._parked = ParkedTask()
        self._is_set = False

    def set(self) -> None:
        """Let the task that waits, or that will wait, go on."""
        self._is_set = True
        self._parked.unpark()

    async def wait(self) -> None:
        """Go on when it is set, at once if it was; then it is no longer."""
        while not self._is_set:
            await self._parked.park()
        self._is_set = False
