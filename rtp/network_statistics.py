"""All endpoints of a network in numbers, those that were closed included."""

from collections import Counter

import msgspec

from .endpoint import EndpointStatistics


class NetworkStatistics(msgspec.Struct, frozen=True):
    """Datagrams of RTP and RTCP, since the network was entered.

    Attributes:
        endpoints: that are open.
        received: datagrams that reached a session.
        taken: packets of RTP and compound packets of RTCP that it took.
        dropped: the others by reason: those of `DropReason` and of `UdpStatistics`.
        sent, unsent: datagrams of RTP and RTCP; the latter by reason.
    """

    endpoints: int
    received: int
    taken: int
    dropped: dict[str, int]
    sent: int
    unsent: dict[str, int]


class NetworkTotals:
    """Adds endpoints up."""

    def __init__(self) -> None:
        self._received = 0
        self._taken = 0
        self._dropped: Counter[str] = Counter()
        self._sent = 0
        self._unsent: Counter[str] = Counter()

    def add(self, one: EndpointStatistics) -> None:
        """One more."""
        self._taken += one.session.packets_received + one.session.rtcp_received
        self._dropped.update(one.session.drops)
        self._unsent.update(one.unsent)
        for port in (one.rtp, one.rtcp):
            if port is not None:
                self._received += port.received
                self._sent += port.sent
                self._dropped.update(port.dropped)
                self._unsent.update(port.unsent)

    def with_open(self, endpoints: list[EndpointStatistics]) -> NetworkStatistics:
        """The sum, with endpoints that still count."""
        sums = NetworkTotals()
        sums._received, sums._taken, sums._sent = self._received, self._taken, self._sent
        sums._dropped, sums._unsent = Counter(self._dropped), Counter(self._unsent)
        for one in endpoints:
            sums.add(one)
        return NetworkStatistics(
            endpoints=len(endpoints),
            received=sums._received,
            taken=sums._taken,
            dropped=dict(sorted(sums._dropped.items())),
            sent=sums._sent,
            unsent=dict(sorted(sums._unsent.items())),
        )
