"""WebRtcCollector: the sessions of WebRTC, all in one."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily

from eventgraph.metrics.collector import SlicedCollector, counters, gauges
from eventgraph.metrics.distribution import Distribution
from eventgraph.metrics.ratchet import Ratchet
from eventgraph.slices import Steps

from ..webrtc import RtpStatistics, WebRtcNetwork
from ..webrtc.session import TrackStatistics, WebRtcSession, WebRtcStatistics
from .network import JITTERS, ROUND_TRIPS

Way = tuple[str, str]
"""Kind of the track, and direction."""
Count = tuple[str, str, str]
"""A way, and why it was dropped or ""; of the network, PACKETS or LOST."""

WAYS: Final = tuple((kind, way) for kind in ("audio", "video") for way in ("in", "out"))
PACKETS: Final = "packets"
LOST: Final = "lost"


class WebRtcCollector(SlicedCollector):
    """Adds up what the tracks pass between peers and the graph, and what RTCP tells of the network.

    Sessions that ended stay in it.
    """

    def __init__(self, network: WebRtcNetwork) -> None:
        super().__init__()
        self._network = network
        self._passed = Ratchet[WebRtcSession, Count]()
        self._on_network = Ratchet[WebRtcSession, Count]()
        self._jitter = {way: Distribution(JITTERS) for way in WAYS}
        self._round_trip = Distribution(ROUND_TRIPS)
        network.on_ended(self._end)

    def read_steps(self) -> Steps[list[Metric]]:
        states: Counter[tuple[str]] = Counter({("connected",): 0, ("connecting",): 0})
        for session in self._network.sessions:
            yield
            if session.ended is not None:  # meanwhile
                continue
            statistics = session.statistics()
            states["connected" if statistics.connected else "connecting",] += 1
            self._look(session, statistics)
        return [
            gauges("rtp_webrtc_sessions", "Sessions of WebRTC.", "state", states),
            *self._passing(),
            *self._quality(),
        ]

    def _look(self, session: WebRtcSession, statistics: WebRtcStatistics) -> None:
        self._passed.look(session, _passed(statistics))
        counts = _on_network(statistics)
        for (kind, way, what), count in counts.items():
            if what == LOST:
                key = kind, way, what
                counts[key] = self._on_network.highest(session, key, count)
        added = self._on_network.look(session, counts)
        for track in statistics.tracks:
            for way, rtp in _ways(track):
                if added[track.kind, way, PACKETS]:  # else it is of long ago
                    self._observe((track.kind, way), rtp)

    def _observe(self, way: Way, rtp: RtpStatistics) -> None:
        if rtp.jitter is not None:
            self._jitter[way].observe(rtp.jitter)
        if rtp.round_trip is not None:
            self._round_trip.observe(rtp.round_trip)

    def _end(self, session: WebRtcSession) -> None:
        self._look(session, session.statistics())
        self._passed.forget(session)
        self._on_network.forget(session)

    def _passing(self) -> Iterator[Metric]:
        passed = dict.fromkeys(WAYS, 0)
        dropped: dict[Count, int] = {}
        for (kind, way, reason), total in self._passed.totals.items():
            if reason:
                dropped[kind, way, reason] = total
            else:
                passed[kind, way] = total
        text = "Packets and frames that passed between peers and the graph."
        yield counters("rtp_webrtc_packets", text, "kind direction", passed)
        text = "Those that were dropped between them."
        yield counters("rtp_webrtc_packets_dropped", text, "kind direction reason", dropped)

    def _quality(self) -> Iterator[Metric]:
        totals = self._on_network.totals
        for name, what, text in (
            ("network_packets", PACKETS, "RTP packets that came from peers and went to them."),
            ("packets_lost", LOST, "Those that were lost on the way, as who receives them counts."),
        ):
            by_way = {(kind, way): totals[kind, way, what] for kind, way in WAYS}
            yield counters(f"rtp_webrtc_{name}", text, "kind direction", by_way)
        text = "Interarrival jitter of each track that carried something since the last answer."
        jitter = HistogramMetricFamily(
            "rtp_webrtc_jitter_seconds", text, labels=["kind", "direction"]
        )
        for labels, distribution in self._jitter.items():
            distribution.add_to(jitter, labels)
        yield jitter
        text = "Round trip by RTCP of each track that sent something since the last answer."
        yield self._round_trip.metric("rtp_webrtc_round_trip_seconds", text)


def _passed(statistics: WebRtcStatistics) -> Counter[Count]:
    counts: Counter[Count] = Counter()
    for track in statistics.tracks:
        for way, mailbox in (("in", track.inward), ("out", track.outward)):
            counts[track.kind, way, ""] += mailbox.handled
            for reason, count in mailbox.dropped.items():
                counts[track.kind, way, reason] += count
        for reason, count in track.drops.items():
            counts[track.kind, "in", reason] += count
    return counts


def _on_network(statistics: WebRtcStatistics) -> defaultdict[Count, float]:
    counts: defaultdict[Count, float] = defaultdict(float)
    for track in statistics.tracks:
        for way, rtp in _ways(track):
            counts[track.kind, way, PACKETS] += rtp.packets
            counts[track.kind, way, LOST] += rtp.lost
    return counts


def _ways(track: TrackStatistics) -> tuple[tuple[str, RtpStatistics], ...]:
    return ("in", track.received), ("out", track.sent)
