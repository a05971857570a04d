"""DiskWriter: what a camera's stream sends, as files of some length that follow each other."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from eventgraph import Event, Graph, NodeDelegate, NodeState
from eventgraph.lifecycle import LifecycleNode, Principal
from rtp.media import END, RTP
from rtp.nodes import Recorder
from rtp.packet import RtpPacket

from .config import DiskConfig
from .footage import name_of, prune
from .pictures import begins_key_frame

RETRY: Final = 5.0
"""Seconds until a file is begun again after one could not be written."""

ENDED: Final = frozenset({NodeState.EXITED, NodeState.CRASHED})

logger = logging.getLogger("cctv")


class DiskWriter(LifecycleNode):
    """Cuts at key frames: each file begins with one, and ends before one.

    Each file is written by a `Recorder` of its own. The next one takes over in the same step, so
    no packet is lost or doubled at a cut. A file plays at every moment, also after a kill -9. A
    camera that is lost ends its file; the next begins when it is back.

    Attributes:
        files: that were begun.
        failures: that could not be written on.
    """

    principal = Principal.CLIENT
    channel_size = 512  # a key frame is some hundred packets
    stop_timeout = 5.0

    def __init__(
        self,
        scope: str,
        graph: Graph,
        directory: Path,
        config: DiskConfig,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Args:
            directory: of this stream's files; made if need be.
            config: how long they are, and how many stay.
            clock: tells what they are called.
        """
        super().__init__(scope, "disk")
        self.files = 0
        self.failures = 0
        self._graph = graph
        self._directory = directory
        self._config = config
        self._clock = clock
        self._link: int | None = None
        self._recorders: list[NodeDelegate] = []  # of the file, and of those being finished
        self._next_cut = 0.0
        self._cut = trio.Event()

    async def on_start(self) -> None:
        await trio.to_thread.run_sync(lambda: self._directory.mkdir(parents=True, exist_ok=True))
        self._next_cut = 0.0

    async def run(self) -> None:
        """Remove old files after each cut."""
        while True:
            await self._cut.wait()
            self._cut = trio.Event()
            try:
                await trio.to_thread.run_sync(prune, self._directory, self._config.keep)
            except OSError as error:
                logger.warning("%s: old footage stays: %s", self.scope, error)

    def on_input(self, event: Event) -> None:
        if event.cmd == END:
            self._end_file()
            self._next_cut = 0.0
        elif event.cmd == RTP and self._may_cut(event.obj):
            self._end_file()
            self._begin_file()
        if self._link is not None:
            self.delegate.deliver(self._link, event)

    def on_link_down(self, link_id: int, _scope: str, name: str) -> None:
        if link_id == self._link:  # it crashed: we let go of it before we end it
            self._link = None
            self.failures += 1
            self._next_cut = trio.current_time() + RETRY
            logger.error("%s: %s broke off; the next file follows", self.scope, name)

    async def on_stop(self) -> None:
        self._end_file()
        for recorder in self._recorders:
            await recorder.wait_exited()
        self._recorders.clear()

    def _may_cut(self, packet: object) -> bool:
        return (
            trio.current_time() >= self._next_cut
            and isinstance(packet, RtpPacket)
            and begins_key_frame(packet)
        )

    def _begin_file(self) -> None:
        self.files += 1
        path = self._directory / name_of(self._clock())
        recorder = Recorder(self.scope, f"file-{self.files}", path=path)
        delegate = self._graph.add_node(recorder)
        self._recorders = [each for each in self._recorders if each.state not in ENDED]
        self._recorders.append(delegate)
        self._link = self.delegate.request_link_up(recorder.scope, recorder.name)
        self._next_cut = trio.current_time() + self._config.segment
        self._cut.set()

    def _end_file(self) -> None:
        if self._link is not None:
            self._link = None
            self._recorders[-1].request_exit()
