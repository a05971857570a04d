"""When a node that crashed is to run again, and when it is given up. Pure: no clock, no tasks.

The terms are those of Erlang/OTP (Supervisor Behaviour, "Restart Strategy"): a permanent child is
always restarted, a transient one after a crash, a temporary one never; more restarts than allowed
in a period, and the failure goes one level up.
"""

import enum
import random
from collections import deque

import msgspec


class Restart(enum.StrEnum):
    """After what a supervised node runs again."""

    PERMANENT = "permanent"  # a crash, and an exit that somebody asked for
    TRANSIENT = "transient"  # a crash
    TEMPORARY = "temporary"  # nothing; when its scope or graph is restarted, it exits


class Level(enum.IntEnum):
    """How far up the failure of a node may go."""

    NODE = 1
    SCOPE = 2
    GRAPH = 3


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervised node is restarted.

    Within any ``period``, the node is restarted ``max_restarts`` times at the most. At the next
    crash it is given up, or, if ``escalate`` says so, all supervised nodes of its scope are
    restarted together, at the most as often; after that those of the graph; after that the graph
    ends with a `GraphFailedError`.

    The first restart within a period comes after ``backoff`` seconds, each further one after twice
    the time of the one before, up to ``max_backoff``; ``jitter`` is the share of it that is left to
    chance, so that those that crashed together do not all come back together.

    Raises:
        ValueError: a value is out of range.
    """

    restart: Restart = Restart.TRANSIENT
    max_restarts: int = 5
    period: float = 10.0  # seconds
    backoff: float = 0.01  # seconds
    max_backoff: float = 5.0  # seconds
    jitter: float = 0.2  # 0..1
    escalate: Level = Level.NODE

    def __post_init__(self) -> None:
        if not 0 <= self.max_restarts <= 1000:
            raise ValueError(f"max_restarts is {self.max_restarts}; it must be 0..1000")
        if not 0 < self.period <= 86_400:
            raise ValueError(f"period is {self.period} s; it must be above 0, and a day at most")
        if not 0 <= self.backoff <= self.max_backoff <= 3600:
            raise ValueError(
                f"backoff is {self.backoff} s and max_backoff {self.max_backoff} s; "
                "they must be 0..3600, and the first not above the second"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is {self.jitter}; it must be 0..1")


class RestartHistory:
    """The restarts of one node, scope or graph within the last period."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._times)

    def next_delay(self, policy: RestartPolicy, now: float) -> float | None:
        """Seconds until the restart that is due now, which is counted; None: there were enough.

        Args:
            now: seconds, of any clock that does not go back.
        """
        times = self._times
        while times and times[0] <= now - policy.period:
            times.popleft()
        if len(times) >= policy.max_restarts:
            return None
        delay = min(policy.backoff * 2.0 ** len(times), policy.max_backoff)
        times.append(now)
        return delay * (1 + policy.jitter * random.uniform(-1, 1))
