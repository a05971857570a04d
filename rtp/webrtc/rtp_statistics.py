"""What RTP and RTCP know of one direction of a track."""

import msgspec


class RtpStatistics(msgspec.Struct, frozen=True):
    """A direction of a track on the network, in numbers.

    Attributes:
        packets: that came, or that went; what is sent again (RFC 4588) is not counted.
        lost: of them, as their receiver counts: we, or the peer in its latest report. What then was
            sent again is lost nevertheless. It falls when a packet comes late, or twice.
        jitter: interarrival jitter (RFC 3550 §6.4.1) in seconds, of the source that was heard last;
            None: not known yet.
        round_trip: to the peer and back, in seconds; None: not known, as of all that comes.
    """

    packets: int
    lost: int
    jitter: float | None = None
    round_trip: float | None = None
