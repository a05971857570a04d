"""WebRtcCollector: the sessions of WebRTC, all in one."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import Metric

from eventgraph.metrics.collector import TrioCollector, counters, gauges
from eventgraph.metrics.ratchet import Ratchet

from ..webrtc import WebRtcNetwork
from ..webrtc.session import WebRtcSession, WebRtcStatistics

Count = tuple[str, str, str]
"""Kind of the track, direction, and why it was dropped or ""."""


class WebRtcCollector(TrioCollector):
    """Adds up what the tracks pass from and to the graph; sessions that ended stay in it."""

    def __init__(self, network: WebRtcNetwork) -> None:
        super().__init__()
        self._network = network
        self._totals = Ratchet[WebRtcSession, Count]()
        network.on_ended(self._end)

    def read(self) -> list[Metric]:
        states: Counter[tuple[str]] = Counter({("connected",): 0, ("connecting",): 0})
        for session in self._network.sessions:
            statistics = session.statistics()
            states["connected" if statistics.connected else "connecting",] += 1
            self._totals.look(session, _counts(statistics))
        return [
            gauges("rtp_webrtc_sessions", "Sessions of WebRTC.", "state", states),
            *self._counters(),
        ]

    def _end(self, session: WebRtcSession) -> None:
        self._totals.look(session, _counts(session.statistics()))
        self._totals.forget(session)

    def _counters(self) -> Iterator[Metric]:
        passed = Counter({(kind, way): 0 for kind in ("audio", "video") for way in ("in", "out")})
        dropped: dict[Count, int] = {}
        for (kind, way, reason), total in self._totals.totals.items():
            if reason:
                dropped[kind, way, reason] = total
            else:
                passed[kind, way] = total
        text = "Packets and frames that passed between peers and the graph."
        yield counters("rtp_webrtc_packets", text, "kind direction", passed)
        text = "Those that were dropped between them."
        yield counters("rtp_webrtc_packets_dropped", text, "kind direction reason", dropped)


def _counts(statistics: WebRtcStatistics) -> Counter[Count]:
    counts: Counter[Count] = Counter()
    for track in statistics.tracks:
        for way, mailbox in (("in", track.inward), ("out", track.outward)):
            counts[track.kind, way, ""] += mailbox.handled
            for reason, count in mailbox.dropped.items():
                counts[track.kind, way, reason] += count
        for reason, count in track.drops.items():
            counts[track.kind, "in", reason] += count
    return counts
