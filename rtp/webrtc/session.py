"""WebRtcSession: one peer, whose tracks and data channels are the nodes of a scope.

    scope "alice":   audio-source   what Alice says        audio-sink   what she hears
                     video-source   what she shows         video-sink   what she sees
                     data-chat      a data channel with the label "chat", both ways

A second track of a kind is "audio-source-2", and so on. There are only the nodes that offer
and answer agreed on. When the session ends, whoever ends it, its sources say END, and its
nodes leave the graph: those who linked to them hear `on_link_down`.
"""

import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Final, Literal, ParamSpec, Self, TypeVar

import msgspec
import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate, NodeExistsError

from ..asyncio_thread import AsyncioThread
from ..errors import RtpError
from ..mailbox import Hop, MailboxStatistics
from ..media import END, EndOfStream, EndReason
from ..media_description import Direction
from ..nodes.playout import PlayoutStatistics
from .data_channel import DataChannelNode, PeerChannel
from .nodes import WebRtcPlayout, WebRtcSink, WebRtcSource
from .peer import Peer
from .peer_track import PeerTrack, Way
from .rtp_statistics import RtpStatistics

P = ParamSpec("P")
T = TypeVar("T")

WayName = Literal["decoded", "forwarded"]

MAX_LABEL: Final = 64
"""Characters of a data channel's label that go into the name of its node."""


class TrackStatistics(msgspec.Struct, frozen=True):
    """One track in numbers: its mailboxes, and what was dropped beside them, by reason.

    Attributes:
        received, sent: on the network.
        playout: of sound that is decoded, with its delay; None for all else.
    """

    kind: str
    way: str
    inward: MailboxStatistics
    outward: MailboxStatistics
    drops: dict[str, int]
    received: RtpStatistics
    sent: RtpStatistics
    playout: PlayoutStatistics | None = None


class WebRtcStatistics(msgspec.Struct, frozen=True):
    """A session in numbers.

    Attributes:
        drops: datagrams that belong to no track, by reason: "srtp" (not from the peer, or
            twice), "malformed", "receiver failed", "transport queue full".
    """

    connected: bool
    ended: EndReason | None
    tracks: list[TrackStatistics]
    drops: dict[str, int] = {}


class WebRtcSession:
    """One peer connection, joined with nodes of a graph. Get it from `WebRtcNetwork.open`.

    Offer and answer are exchanged once: either `accept_offer`, or `create_offer` and
    `accept_answer`. All methods are of trio's thread.

    Attributes:
        scope: of its nodes.
    """

    def __init__(
        self,
        graph: Graph,
        thread: AsyncioThread,
        to_trio: Hop,
        to_asyncio: Hop,
        scope: str,
        *,
        audio: WayName,
        video: WayName,
        directions: Mapping[str, Direction],
        consent_timeout: float,
        connect_timeout: float,
        on_data_channel: Callable[[NodeDelegate], object] | None,
        ended: Callable[["WebRtcSession"], object],
    ) -> None:
        """As `WebRtcNetwork.open`; `ended` is called once."""
        self.scope = scope
        self._graph = graph
        self._thread = thread
        self._on_data_channel = on_data_channel
        self._told_ended = ended
        self._nodes: dict[Address, NodeDelegate] = {}
        self._playouts: dict[PeerTrack, WebRtcPlayout] = {}
        self._reason: EndReason | None = None
        self._ended = trio.Event()
        self._peer = Peer(
            thread,
            to_trio,
            to_asyncio,
            {"audio": Way(audio), "video": Way(video)},
            directions,
            consent_timeout=consent_timeout,
            connect_timeout=connect_timeout,
            opened=self._add_channel,
            over=lambda reason: thread.token.run_sync_soon(self._end, reason),
        )

    def __repr__(self) -> str:
        return f"<WebRtcSession {self.scope!r} {self._reason or 'open'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def nodes(self) -> list[Address]:
        """Where its nodes are, those of data channels included."""
        return list(self._nodes)

    @property
    def connected(self) -> bool:
        """Whether media can flow now."""
        return self._peer.connected

    @property
    def ended(self) -> EndReason | None:
        """Why it is over: BYE, the peer closed; SILENCE, it vanished or never came; CLOSED,
        we closed; None: it is not over."""
        return self._reason

    def formats(self, kind: str) -> tuple[int, ...]:
        """What the first track of a kind can carry, by the graph's payload types."""
        return next((track.formats for track in self._peer.tracks if track.kind == kind), ())

    # Offer and answer (RFC 8829)

    async def accept_offer(self, offer: str) -> str:
        """Take a peer's offer.

        Args:
            offer: SDP.
        Returns:
            the answer in SDP, with all candidates. The nodes are in the graph.
        Raises:
            SdpError: the offer cannot be used. The session is closed, as after every error.
            NodeExistsError: another session has this scope.
        """
        try:
            answer = await self._negotiate(self._peer.answer, offer)
            self._add_tracks()
        except BaseException:
            await self.close()
            raise
        return answer

    async def create_offer(
        self, kinds: Collection[str] = ("audio", "video"), channels: Collection[str] = ()
    ) -> str:
        """Make an offer.

        Args:
            kinds: of the tracks: "audio", "video", repeated for more of a kind.
            channels: labels of data channels to open.
        Returns:
            SDP, with all candidates.
        """
        try:
            return await self._negotiate(self._peer.offer, kinds, channels)
        except BaseException:
            await self.close()
            raise

    async def accept_answer(self, answer: str) -> None:
        """Take the peer's answer to `create_offer`. The nodes are in the graph afterwards.

        Raises:
            SdpError, NodeExistsError: as `accept_offer`.
        """
        try:
            await self._negotiate(self._peer.take_answer, answer)
            self._add_tracks()
        except BaseException:
            await self.close()
            raise

    async def add_candidate(self, candidate: str, mid: str | None = None) -> None:
        """Take a candidate that the peer found later (trickle ICE, RFC 8838).

        Args:
            candidate: the value of `a=candidate`; "": there will be no more.
            mid: of its media section; None: of the first.
        Raises:
            SdpError: it cannot be used; the session goes on.
        """
        await self._negotiate(self._peer.add_candidate, candidate, mid)

    async def _negotiate(
        self, step: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A step of some milliseconds, not cut short: when uvloop 0.23 is cancelled while it
        binds a socket, as aioice does here, its loop may hang in the end."""
        result = await self._thread.call_shielded(step, *args, **kwargs)
        await trio.lowlevel.checkpoint_if_cancelled()
        return result

    def add_node(self, node: Node) -> NodeDelegate:
        """Add a node to the graph that leaves with the session, such as an encoder for its sink.

        Raises:
            RtpError: the session is over.
            GraphError: as `Graph.add_node`.
        """
        if self._reason is not None:
            raise RtpError(f"the session {self.scope!r} is over")
        delegate = self._graph.add_node(node)
        self._nodes[delegate.address] = delegate
        return delegate

    # The end

    async def close(self) -> None:
        """End the session, and wait until nothing of it is left; cannot be cut short.

        Idempotent. The nodes have been asked to leave by then; `wait_left` waits for them.
        """
        if self._thread.is_open:
            await self._thread.call_shielded(self._peer.close)
        else:
            self._end(EndReason.CLOSED)

    async def wait_ended(self) -> EndReason:
        """Wait until the session is over, whoever ended it; why."""
        await self._ended.wait()
        assert self._reason is not None
        return self._reason

    async def wait_left(self) -> None:
        """Wait until the session is over, its connection closed, and its nodes have left."""
        await self._ended.wait()
        await self.close()
        for delegate in list(self._nodes.values()):
            await delegate.wait_exited()

    def statistics(self) -> WebRtcStatistics:
        """The session in numbers."""
        return WebRtcStatistics(
            self._peer.connected,
            self._reason,
            [
                TrackStatistics(
                    track.kind,
                    track.way,
                    track.inward.statistics(),
                    track.outward.statistics(),
                    track.drops(),
                    track.received(),
                    track.sent(),
                    self._playouts[track].statistics() if track in self._playouts else None,
                )
                for track in self._peer.tracks
            ],
            self._peer.drops(),
        )

    def _add_tracks(self) -> None:
        numbers: dict[str, int] = {}
        for track in self._peer.tracks:
            number = numbers[track.kind] = numbers.get(track.kind, 0) + 1
            suffix = "" if number == 1 else f"-{number}"
            if track.receives:
                self._add_source(f"{track.kind}-source{suffix}", track)
            if track.sends:
                self.add_node(WebRtcSink(self.scope, f"{track.kind}-sink{suffix}", track))

    def _add_source(self, name: str, track: PeerTrack) -> None:
        if track.kind == "audio" and track.way is Way.DECODED:
            playout = self._playouts[track] = WebRtcPlayout(self.scope, name, track)
            self.add_node(playout)
        else:
            self.add_node(WebRtcSource(self.scope, name, track))

    def _add_channel(self, channel: PeerChannel) -> None:
        if self._reason is not None:  # it ended meanwhile
            return
        base = f"data-{channel.label[:MAX_LABEL]}"
        for number in itertools.count(1):
            name = base if number == 1 else f"{base}-{number}"
            address = Address(self.scope, name)
            left = partial(self._close_channel, address, channel)
            node = DataChannelNode(self.scope, name, channel, left)
            try:
                delegate = self.add_node(node)
            except NodeExistsError:
                continue
            break
        node.begin(delegate)
        if self._on_data_channel is not None:
            self._on_data_channel(delegate)

    def _close_channel(self, address: Address, channel: PeerChannel) -> None:
        self._nodes.pop(address, None)
        if self._thread.is_open:
            self._thread.loop.call_soon_threadsafe(channel.close)

    def _end(self, reason: EndReason) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        for track in self._peer.tracks:
            track.inward.drain()  # what came before the end
            if track.source is not None:
                track.source(Event(END, EndOfStream(reason)))
        for delegate in list(self._nodes.values()):
            delegate.request_exit()
        self._ended.set()
        self._told_ended(self)
