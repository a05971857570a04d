"""The orderly end: no new sessions, and those that are in may go on until they are over.

Signals: the first begins the drain, the second ends it at once, the third drains nothing at all.
"""

import logging
from typing import Final

import trio

from .admission import Admission
from .ending import Ending
from .sessions import Sessions

LOOK: Final = 0.1
"""Seconds between two looks; a session does not tell when it is over."""
REPORT: Final = 10.0
"""Seconds between two lines about who holds up the end."""

logger = logging.getLogger("rtp.server")


async def drain(admission: Admission, sessions: Sessions, ending: Ending, timeout: float) -> bool:
    """Wait until the last session is over, for so many seconds, or until asked again.

    Returns:
        Whether all left by themselves.
    """
    admission.drain()
    if not timeout or not (len(sessions) or sessions.coming):
        return not len(sessions)
    logger.warning("ending: no new sessions; %d may go on for %g s", len(sessions), timeout)
    began = trio.current_time()
    ending.waiting = True
    with ending.patience, trio.move_on_after(timeout):
        while len(sessions) or sessions.coming:
            with trio.move_on_after(REPORT):
                while len(sessions) or sessions.coming:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(LOOK)
            _report(sessions)
    ending.waiting = False
    left = len(sessions)
    if left:
        logger.warning("%d sessions were cut off after %.0f s", left, trio.current_time() - began)
    return not left


def _report(sessions: Sessions) -> None:
    if len(sessions):
        names = "; ".join(sessions.names())
        logger.warning("%d sessions hold up the end: %s", len(sessions), names)
