"""How loaded this process is, as the operating system and the event loop tell."""

import time
from typing import Final, NamedTuple

import trio

BEAT: Final = 0.1
"""Seconds of a sleep; how late it ends is the lag of the loop."""


class Sample(NamedTuple):
    """The load over some time.

    Attributes:
        lag: seconds by which the loop was late at worst: so long a task waited for its turn.
        cpu: processors that the process kept busy; 1 is all of one.
    """

    lag: float
    cpu: float


async def take_sample(seconds: float) -> Sample:
    """Watch for so long."""
    began, cpu = trio.current_time(), time.process_time()
    lag, now = 0.0, began
    while now - began < seconds:
        due = now + BEAT
        await trio.sleep_until(due)
        now = trio.current_time()
        lag = max(lag, now - due)
    return Sample(lag, (time.process_time() - cpu) / (now - began))
