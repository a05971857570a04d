"""The upper half of the hierarchy: Apex -> Camera -> CameraStream -> whoever needs its media.

Apex           server   runs while it has cameras
Camera         client   runs while it is attached to the apex
CameraStream   server   runs, and so is connected, while somebody needs it; stays attached
"""

import logging
from enum import StrEnum
from typing import Final

import trio

from eventgraph import Event
from eventgraph.lifecycle import LifecycleNode, Principal
from rtp.media import END, EndOfStream, EndReason

from .backoff import Backoff
from .config import RtspConfig, StreamConfig
from .reader import CameraError, CameraReader

STEADY: Final = 10.0
"""Seconds for which a connection must have been good, so that the next wait is a short one."""

logger = logging.getLogger("cctv")


class Apex(LifecycleNode):
    """The top: all cameras are its clients. To stop it is to stop everything, leaves first."""

    principal = Principal.SERVER
    max_links = 256


class Camera(LifecycleNode):
    """A camera: its streams are its clients."""

    principal = Principal.CLIENT
    max_links = 8


class Reachability(StrEnum):
    """How a stream is."""

    STOPPED = "stopped"
    """Nobody needs it: there is no connection."""
    CONNECTING = "connecting"
    LIVE = "live"
    WAITING = "waiting"
    """It cannot be reached; the next attempt follows."""


class CameraStream(LifecycleNode):
    """One stream of a camera: RTP of H.264 and PCM, and END when the camera is lost.

    It is connected while it runs. A camera that dies is tried again and again, with growing
    waits; the clients stay attached.

    Attributes:
        reachability: how it is.
        trouble: why it cannot be reached; "" if it can.
        connections: that were made so far.
        has_sound: whether sound has come.
    """

    principal = Principal.SERVER
    stays_attached = True
    max_links = 64

    def __init__(self, scope: str, stream: StreamConfig, config: RtspConfig) -> None:
        super().__init__(scope, "stream")
        self.linger = config.linger
        self.reachability = Reachability.STOPPED
        self.trouble = ""
        self.connections = 0
        self._config = config
        self._reader = CameraReader(stream.url, config, self._take, self._begin)
        self._live_since = 0.0

    async def run(self) -> None:
        """Read the camera for ever."""
        backoff = Backoff(self._config.backoff, self._config.max_backoff)
        try:
            while True:
                self.reachability = Reachability.CONNECTING
                reason = await self._read()
                if self.reachability is Reachability.LIVE:
                    self.output(Event(END, EndOfStream(EndReason.CLOSED)))
                    if trio.current_time() - self._live_since > STEADY:
                        backoff.reset()
                self.reachability = Reachability.WAITING
                if reason != self.trouble:
                    logger.warning("%s: %s; it is tried again", self.scope, reason)
                self.trouble = reason
                await trio.sleep(backoff.wait())
        finally:
            self.reachability = Reachability.STOPPED
            self.trouble = ""

    async def _read(self) -> str:
        """Until it ends; why."""
        try:
            await self._reader.read()
        except CameraError as error:
            return str(error)
        raise AssertionError("a reader only ends by an error")

    def _begin(self) -> None:
        self.connections += 1
        self.trouble = ""
        self.reachability = Reachability.LIVE
        self._live_since = trio.current_time()
        logger.info("%s: connected", self.scope)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self.output(event)
