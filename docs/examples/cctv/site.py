"""Site: the graph of all cameras, and what people may ask of it.

    apex --> gate/camera --> gate/main/stream --> disk --> file-1
                                              --> video --+-- by rule --> broadcast --> viewer
                                              --> audio --+

Every arrow is a link and an attachment; those below a stream are up only while somebody needs it.
"""

import itertools
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from eventgraph import Graph
from eventgraph.streams import Rule, Streams
from rtp.errors import RtpError
from rtp.media_description import Direction
from rtp.rooms.call import OpenSession
from rtp.rooms.host import Host

from .broadcaster import Broadcaster
from .camera import Apex, Camera, CameraStream
from .config import Config, StreamConfig
from .disk_writer import DiskWriter
from .feeds import SoundFeed, VideoFeed
from .viewer import Viewer, Viewing

SEND: Final[Mapping[str, Direction]] = {"audio": "sendonly", "video": "sendonly"}

logger = logging.getLogger("cctv")


class NoSuchStreamError(RtpError):
    """No camera has a stream of this name."""


class StreamStatus(msgspec.Struct, frozen=True):
    """A stream, as the page shows it."""

    name: str
    url: str  # without a password
    broadcast: str  # its name in the rules
    feeds: list[str]  # of pictures and of sound
    state: str
    error: str
    connections: int
    viewers: int
    recording: bool
    audio: bool  # whether the broadcast has sound
    files: int


class CameraStatus(msgspec.Struct, frozen=True):
    """A camera, as the page shows it."""

    name: str
    streams: list[StreamStatus]


class Branch:
    """What belongs to one stream of a camera.

    Attributes:
        name: of its rule, and so of what is broadcast.
    """

    def __init__(
        self, graph: Graph, streams: Streams, camera: str, stream: StreamConfig, config: Config
    ) -> None:
        scope = f"{camera}/{stream.name}"
        self.name = f"{camera}.{stream.name}"
        self.config = stream
        self.stream = CameraStream(scope, stream, config.rtsp)
        directory = Path(config.disk.directory) / camera / stream.name
        self.disk = DiskWriter(scope, graph, directory, config.disk)
        self.broadcast = Broadcaster(scope, streams, self.name)
        self.feeds = VideoFeed(self.stream), SoundFeed(self.stream)
        self._streams = streams
        for node in (self.stream, self.disk, self.broadcast, *self.feeds):
            graph.add_node(node)
        self._names = [streams.add_feed(None, feed.delegate.address) for feed in self.feeds]
        self.set_audio(stream.audio)

    def set_audio(self, on: bool) -> None:
        """Have the sound in the broadcast, or not; the link of the pictures is not touched."""
        self._streams.set_rule(Rule(self.name, tuple(self._names[: 1 + on])))

    def record(self, on: bool) -> None:
        """Attach the disk writer, or detach it."""
        if on and not self.disk.attached:
            self.stream.attach(self.disk)
        elif not on and self.disk.attached:
            self.stream.detach(self.disk)

    async def end_broadcast(self) -> None:
        """Bring the broadcast down, and the viewers before it.

        Before the feeds are stopped from above: their links to it are the rule's, which would be
        put up again.
        """
        self.broadcast.request_stop()
        await self.broadcast.wait_stopped()

    def status(self, rule: Rule | None) -> StreamStatus:
        """As the page shows it.

        Args:
            rule: of its broadcast.
        """
        return StreamStatus(
            name=self.config.name,
            url=self.config.url.shown,
            broadcast=self.name,
            feeds=self._names,
            state=self.stream.reachability,
            error=self.stream.trouble,
            connections=self.stream.connections,
            viewers=self.broadcast.statistics().clients,
            recording=self.disk.attached,
            audio=rule is not None and self._names[1] in rule.feeds,
            files=self.disk.files,
        )


class Site(Host):
    """All cameras; ``async with Site(graph, open_session, config) as site``.

    Leaving the block sends the viewers home and stops all else, leaves first.

    Attributes:
        streams: what is broadcast, as rules.
    """

    def __init__(self, graph: Graph, open_session: OpenSession, config: Config) -> None:
        super().__init__()
        self._graph = graph
        self._open_session = open_session
        self._config = config
        self.streams = Streams(graph)
        self._apex = Apex("site", "apex")
        self._cameras: dict[str, dict[str, Branch]] = {}
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._graph.add_node(self._apex)
        for config in self._config.cameras:
            camera = Camera(config.name, "camera")
            self._graph.add_node(camera)
            self._apex.attach(camera)
            branches = self._cameras[config.name] = {}
            for stream in config.streams:
                branch = Branch(self._graph, self.streams, config.name, stream, self._config)
                branches[stream.name] = branch
                camera.attach(branch.stream)
                branch.record(stream.record)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        if error is not None:
            self.streams.close()
        else:
            for branches in self._cameras.values():
                for branch in branches.values():
                    await branch.end_broadcast()
            self.streams.close()
            self._apex.request_stop()
            await self._apex.wait_stopped()

    def find(self, camera: str, stream: str) -> Branch:
        """What belongs to a stream.

        Raises:
            NoSuchStreamError: there is none of that name.
        """
        try:
            return self._cameras[camera][stream]
        except KeyError:
            raise NoSuchStreamError(f"there is no stream {camera}/{stream}"[:200]) from None

    def status(self) -> list[CameraStatus]:
        """All cameras, as the page shows them."""
        rules = {rule.stream: rule for rule in self.streams.rules}
        return [
            CameraStatus(name, [each.status(rules.get(each.name)) for each in branches.values()])
            for name, branches in self._cameras.items()
        ]

    async def watch(self, camera: str, stream: str, offer: str) -> Viewing:
        """Let a browser watch; the camera is connected for it if need be.

        Args:
            offer: SDP, to receive.
        Raises:
            NoSuchStreamError: there is none of that name.
            SdpError: the offer cannot be used, or takes no H.264.
            ClosingError: the site is being left.
            GraphError: there are too many viewers.
        """
        self.check_open()
        branch = self.find(camera, stream)
        scope = f"{branch.stream.scope}/viewer-{next(self._numbers)}"
        session = self._open_session(scope, directions=SEND)
        answer = await session.accept_offer(offer)
        try:
            self.check_open()
            viewer = Viewer(session)
            delegate = self._graph.add_node(viewer)
            try:
                branch.broadcast.attach(viewer)
            except BaseException:
                delegate.request_exit()
                raise
        except BaseException:
            await session.close()
            raise
        viewing = Viewing(session, answer, viewer, delegate)
        self.keep(viewing, partial(_note_left, scope))
        return viewing


async def _note_left(scope: str) -> None:
    logger.info("%s: left", scope)
