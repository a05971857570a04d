"""NetworkCollector: the sessions of plain RTP, all in one."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import Metric

from eventgraph.metrics.collector import SlicedCollector, counter, counters, gauges
from eventgraph.metrics.distribution import Distribution
from eventgraph.metrics.ratchet import Ratchet
from eventgraph.slices import Steps

from ..drops import DropReason
from ..endpoint import EndpointStatistics, RtpEndpoint
from ..network import RtpNetwork

JITTERS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""Seconds; above 0.03 people begin to hear it."""
ROUND_TRIPS: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Seconds; above 0.3 people interrupt each other (ITU-T G.114: 0.15 one way)."""

Count = tuple[str, str]
"""What is counted, and why or ""."""
LOST: Final[Count] = ("packets_lost", "")


class NetworkCollector(SlicedCollector):
    """Adds up what each endpoint counts; one that is closed stays in the totals."""

    def __init__(self, network: RtpNetwork) -> None:
        super().__init__()
        self._network = network
        self._totals = Ratchet[RtpEndpoint, Count]()
        self._jitter = Distribution(JITTERS)
        self._round_trip = Distribution(ROUND_TRIPS)
        network.on_closed(self._close)

    def read_steps(self) -> Steps[list[Metric]]:
        live: Counter[tuple[str]] = Counter({("live",): 0, ("silent",): 0})
        for endpoint in self._network.endpoints:
            yield
            if endpoint.closed:  # meanwhile
                continue
            live["live" if endpoint.is_live else "silent",] += 1
            statistics = self._look(endpoint)
            if endpoint.is_live and statistics.session.packets_received:
                self._jitter.observe(statistics.session.jitter)
            if statistics.session.round_trip is not None:
                self._round_trip.observe(statistics.session.round_trip)
        text = "Sessions of plain RTP; live: the peer was heard of late."
        return [gauges("rtp_sessions", text, "state", live), *self._counters(), *self._quality()]

    def _look(self, endpoint: RtpEndpoint) -> EndpointStatistics:
        statistics = endpoint.statistics()
        # Duplicates take a loss back, and a counter must not fall.
        lost = self._totals.highest(endpoint, LOST, statistics.session.packets_lost)
        self._totals.look(endpoint, _counts(statistics, lost))
        return statistics

    def _close(self, endpoint: RtpEndpoint) -> None:
        self._look(endpoint)
        self._totals.forget(endpoint)

    def _counters(self) -> Iterator[Metric]:
        totals = self._totals.totals
        for what, text in _PLAIN.items():
            yield counter(f"rtp_{what}", text, totals[what, ""])
        for what, (text, known) in _BY_REASON.items():
            by_reason: Counter[tuple[str]] = Counter({(reason,): 0 for reason in known})
            for (counted, reason), total in totals.items():
                if counted == what:
                    by_reason[reason,] = total
            yield counters(f"rtp_{what}", text, "reason", by_reason)

    def _quality(self) -> Iterable[Metric]:
        text = "Interarrival jitter (RFC 3550) of each live session, all looked at once an answer."
        yield self._jitter.metric("rtp_jitter_seconds", text)
        text = "Round trip by RTCP of each session that knows it, all looked at once an answer."
        yield self._round_trip.metric("rtp_round_trip_seconds", text)


_PLAIN: Final = {
    "packets_received": "RTP packets that were taken.",
    "received_bytes": "Payload of the RTP packets that were taken.",
    "packets_sent": "RTP packets that were sent.",
    "sent_bytes": "Payload of the RTP packets that were sent.",
    "packets_lost": "RTP packets that never came, as far as duplicates have not shown otherwise.",
    "packets_unclaimed": "RTP packets that nobody in the graph wanted.",
    "rtcp_packets_received": "Compound RTCP packets that were taken.",
    "rtcp_packets_sent": "Compound RTCP packets that were sent.",
}
_BY_REASON: Final = {
    "packets_dropped": (
        "Datagrams that came and were not taken.",
        (*(reason.value for reason in DropReason), "buffer full"),
    ),
    "packets_unsent": ("Datagrams that could not be sent.", ("no peer",)),
}


def _counts(statistics: EndpointStatistics, lost: float) -> dict[Count, float]:
    session = statistics.session
    counts: defaultdict[Count, float] = defaultdict(
        float,
        {
            ("packets_received", ""): session.packets_received,
            ("received_bytes", ""): session.octets_received,
            ("packets_sent", ""): session.packets_sent,
            ("sent_bytes", ""): session.octets_sent,
            LOST: lost,
            ("packets_unclaimed", ""): statistics.unclaimed,
            ("rtcp_packets_received", ""): session.rtcp_received,
            ("rtcp_packets_sent", ""): session.rtcp_sent,
        },
    )
    for reason, count in session.drops.items():
        counts["packets_dropped", reason.value] += count
    for port in filter(None, (statistics.rtp, statistics.rtcp)):
        for why, count in port.dropped.items():
            counts["packets_dropped", why] += count
        for why, count in port.unsent.items():
            counts["packets_unsent", why] += count
    for why, count in statistics.unsent.items():
        counts["packets_unsent", why] += count
    return counts
