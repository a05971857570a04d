"""Telling systemd how the server is: up, ending, alive. Without systemd nothing is told.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
import socket
from typing import Final, Self

import trio

BEATS: Final = 2
"""Within the time after which systemd takes a server without a beat for dead."""

logger = logging.getLogger("rtp.server")


class Notifier:
    """Sends datagrams to the socket of the service manager."""

    def __init__(self, path: str, watchdog: float) -> None:
        """
        Args:
            path: of the socket, with ``@`` for an abstract one; empty: nobody is told.
            watchdog: seconds after which no beat means dead; 0: nobody watches.
        """
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._watchdog = watchdog

    @classmethod
    def from_environment(cls) -> Self:
        """As systemd has set it for this process, and for none that it starts."""
        path = os.environ.pop("NOTIFY_SOCKET", "")
        period = os.environ.pop("WATCHDOG_USEC", "")
        process = os.environ.pop("WATCHDOG_PID", "")
        ours = process in {"", str(os.getpid())}
        watchdog = int(period) / 1e6 if period.isdecimal() and ours else 0.0
        return cls(path, watchdog)

    def notify(self, state: str) -> None:
        """Such as ``READY=1``. Who cannot be told is not worth a failure."""
        if not self._path:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as each:
                each.sendto(state.encode(), self._path)
        except OSError as error:
            logger.warning("systemd was not told %s: %s", state, error)

    async def watch(self) -> None:
        """Beat as long as the event loop turns, until cancelled."""
        if not self._path or not self._watchdog:
            return
        while True:
            self.notify("WATCHDOG=1")
            await trio.sleep(self._watchdog / BEATS)
