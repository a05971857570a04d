"""When a client that crashed is started again, and when no more. Pure; time is an argument."""

import math
from collections import deque
from typing import Final

from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.protocol import Launch

MAX_RESPAWNS: Final = 1000
MAX_PERIOD: Final = 86_400.0  # seconds
MAX_BACKOFF: Final = 60.0  # seconds; whoever looks after it wants to see it come back


class Respawn:
    """The limit of one client: so many times in a period, with a pause that is doubled each time.

    Attributes:
        restarts: how often it was started again, since ever.

    Raises:
        FlowOptionError: a limit of the launch is out of bounds.
    """

    def __init__(self, launch: Launch) -> None:
        for name, low, high in (
            ("respawns", 0, MAX_RESPAWNS),
            ("period", 1.0, MAX_PERIOD),
            ("backoff", 0.0, MAX_BACKOFF),
        ):
            value = getattr(launch, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise FlowOptionError(f"{launch.name}: {name} is {value}; {low:g} to {high:g}")
        self._launch = launch
        self._starts: deque[float] = deque()  # within the period, the first one not counted
        self.restarts = 0

    def crashed(self, now: float) -> float | None:
        """It has crashed, or ended when it should not have.

        Args:
            now: seconds, monotonic.
        Returns:
            seconds until it is to be started again; None: no more.
        """
        launch, starts = self._launch, self._starts
        while starts and starts[0] <= now - launch.period:
            starts.popleft()
        if len(starts) >= launch.respawns:
            return None
        pause = min(launch.backoff * (1 << len(starts)), MAX_BACKOFF)
        starts.append(now + pause)
        self.restarts += 1
        return pause

    def __str__(self) -> str:
        """The limit, for whoever reads why it was given up."""
        return f"{self._launch.respawns} times in {self._launch.period:g} s"
