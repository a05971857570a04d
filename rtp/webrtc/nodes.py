"""The nodes of a session's tracks: a source of what the peer sends, a sink of what it gets."""

from collections import Counter
from typing import Final

import av
import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate

from ..media import KEYFRAME_REQUEST, PCM, RETRANSMIT, RTP, VIDEO, AudioFrame
from ..nodes.playout import Playout
from ..packet import RtpPacket
from ..payload_format import GRAPH_FORMATS
from .peer_track import PeerTrack, Sendable, Way

SAMPLE_RATE: Final = 48000
"""Hz of decoded sound: that of Opus (RFC 7587 §4.1)."""

_TYPES: Final[dict[int, type[Sendable]]] = {RTP: RtpPacket, PCM: AudioFrame, VIDEO: av.VideoFrame}
_WANTED: Final = {
    (Way.DECODED, "audio"): PCM,
    (Way.DECODED, "video"): VIDEO,
    (Way.FORWARDED, "audio"): RTP,
    (Way.FORWARDED, "video"): RTP,
}


class WebRtcSource(Node):
    """Broadcasts what the peer sends on one track as it comes: RTP or VIDEO, and END.

    A forwarded track takes KEYFRAME_REQUEST and RETRANSMIT, and passes them on to the peer;
    of video, each new link gets a key frame soon.

    Attributes:
        untaken: events that no link took, as there was none or all refused.
    """

    max_links = 1024  # of the size of an audience

    def __init__(self, scope: str, name: str, track: PeerTrack) -> None:
        super().__init__(scope, name)
        self.untaken = 0
        self._track = track

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._track.source = self.take

    def take(self, event: Event) -> None:
        """Something came from the peer."""
        if not self._delegate.broadcast(event):
            self.untaken += 1

    def on_event(self, event: Event) -> None:
        if event.cmd in {KEYFRAME_REQUEST, RETRANSMIT}:
            self._track.requests.put(event)

    def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        if self._track.kind == "video":
            self._track.requests.put(Event(KEYFRAME_REQUEST))

    def on_exit(self) -> None:
        self._track.source = None
        self._track.requests.close()


class WebRtcPlayout(Playout):
    """Broadcasts what the peer says on a decoded track: PCM at 48 kHz, in time, and END."""

    max_links = 1024  # as above

    def __init__(self, scope: str, name: str, track: PeerTrack) -> None:
        super().__init__(scope, name, formats=GRAPH_FORMATS, sample_rate=SAMPLE_RATE)
        self._track = track

    async def on_enter(self, delegate: NodeDelegate) -> None:
        await super().on_enter(delegate)
        self._track.source = self.take

    def take(self, event: Event) -> None:
        """Something came from the peer."""
        if event.cmd == RTP:
            self.take_packet(event.obj, trio.current_time())
        else:
            self._delegate.deliver_self(event)

    def on_exit(self) -> None:
        super().on_exit()
        self._track.source = None


class WebRtcSink(Node):
    """Sends what it is given to the peer: RTP if the track is forwarded, else PCM or VIDEO.

    What the peer asks back of a forwarded track it broadcasts, KEYFRAME_REQUEST and
    RETRANSMIT: link it to the source that feeds it, or let `link_forwarding` do that.

    Attributes:
        drops: events that do not belong on this track, by reason: "wrong event", "wrong type".
    """

    def __init__(self, scope: str, name: str, track: PeerTrack) -> None:
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._track = track
        self._wanted = _WANTED[track.way, track.kind]

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._track.sink = delegate.broadcast

    def on_event(self, event: Event) -> None:
        if event.cmd == self._wanted:
            if isinstance(event.obj, _TYPES[event.cmd]):
                self._track.outward.put(event.obj)
            else:
                self.drops["wrong type"] += 1
        elif event.cmd in _TYPES:
            self.drops["wrong event"] += 1

    def on_exit(self) -> None:
        self._track.sink = None
        self._track.outward.close()


def link_forwarding(graph: Graph, source: Address, sink: Address) -> None:
    """Link a source to a sink, and the sink back, so that it can ask for key frames.

    Raises:
        GraphError: as `Graph.link_up`; then there is neither link.
    """
    graph.link_up(sink, source)
    try:
        graph.link_up(source, sink)
    except BaseException:
        graph.link_down(sink, source)
        raise
