"""Whether new sessions are let in: not while the server ends, and not while it is overloaded.

Those that are in go on whatever happens here.
"""

import logging
from collections import Counter
from typing import Final

import msgspec
import trio

from .config import LimitsConfig
from .load import take_sample
from .overload import Overload
from .sessions import BusyError

DRAIN_RETRY: Final = 30.0
"""Seconds after which another server, or this one after its restart, may be asked."""
SAMPLE: Final = 0.5
"""Seconds of a look at the load."""

logger = logging.getLogger("rtp.server")


class AdmissionStatus(msgspec.Struct, frozen=True):
    """Who is let in, and who was not.

    Attributes:
        open: whether new sessions are.
        draining: the server ends when those that are in have left.
        overloaded: why it is; empty if it is not.
        lag: seconds that a task waits for its turn, at worst in the last half second.
        cpu: processors that the process keeps busy; 1 is all of one.
        refused: sessions, by reason.
    """

    open: bool
    draining: bool
    overloaded: str
    lag: float
    cpu: float
    refused: dict[str, int]


class Admission:
    """Decides for each new session."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._overload = Overload(config)
        self._draining = False
        self._refused: Counter[str] = Counter()

    @property
    def overload(self) -> Overload:
        """The decision, as it stands."""
        return self._overload

    def drain(self) -> None:
        """Let nobody in from now on."""
        self._draining = True

    def check(self) -> None:
        """One more wants to come in.

        Raises:
            BusyError: not now.
        """
        if self._draining:
            self._refused["draining"] += 1
            raise BusyError("this server ends: try another, or again later", DRAIN_RETRY)
        if self._overload.reason:
            self._refused["overload"] += 1
            raise BusyError(
                f"this server is overloaded, {self._overload.reason}: try again later",
                self._config.retry_after,
            )

    async def run(self) -> None:
        """Watch the load, until cancelled."""
        while True:
            sample = await take_sample(SAMPLE)
            before = self._overload.reason
            self._overload.update(sample, trio.current_time())
            reason = self._overload.reason
            if reason and not before:
                logger.warning("no new sessions for now: %s", reason)
            elif before and not reason:
                logger.warning("new sessions again")

    def status(self) -> AdmissionStatus:
        """As it is now."""
        sample = self._overload.latest
        return AdmissionStatus(
            open=not self._draining and not self._overload.reason,
            draining=self._draining,
            overloaded=self._overload.reason,
            lag=sample.lag,
            cpu=sample.cpu,
            refused=dict(self._refused),
        )
