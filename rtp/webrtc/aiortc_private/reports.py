"""What aiortc counts of RTP and hears by RTCP, read when somebody asks.

`getStats`, which is public, is a coroutine of the asyncio thread, shows one source of a receiver,
which may be that of resends, and has no round trip. Here the same counts are read from whatever
thread asks: they are whole numbers, and each may be a packet older than the next.
"""

from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.stats import RTCRemoteInboundRtpStreamStats, RTCStatsReport

from ..rtp_statistics import RtpStatistics


def received(receiver: RTCRtpReceiver) -> RtpStatistics:
    """What came from the peer, without what it sent again (RFC 4588)."""
    streams: dict[int, StreamStatistics] = receiver._RTCRtpReceiver__remote_streams  # type: ignore[attr-defined]  # private
    resent: dict[int, int] = receiver._RTCRtpReceiver__rtx_ssrc  # type: ignore[attr-defined]  # as above
    # A copy first, in one step of the interpreter: the other thread may add a source.
    media = [stream for ssrc, stream in list(streams.items()) if ssrc not in resent]
    heard = [stream for stream in media if stream.packets_received > 1]
    latest = max(heard, key=_heard_at, default=None)
    return RtpStatistics(
        packets=sum(stream.packets_received for stream in media),
        lost=sum(max(0, stream.packets_lost) for stream in media),
        jitter=None if latest is None else latest.jitter / latest._clockrate,
    )


def sent(sender: RTCRtpSender, clock_rate: int) -> RtpStatistics:
    """What went to the peer, and what it told of that.

    Args:
        clock_rate: of what is sent, in Hz; 0: nothing was.
    """
    packets: int = sender._RTCRtpSender__packet_count  # type: ignore[attr-defined]  # private
    told: RTCStatsReport = sender._RTCRtpSender__stats  # type: ignore[attr-defined]  # as above
    report = told.get(f"remote-inbound-rtp_{id(sender)}")
    if not isinstance(report, RTCRemoteInboundRtpStreamStats) or not clock_rate:
        return RtpStatistics(packets, 0)
    took = report.roundTripTime
    return RtpStatistics(
        packets,
        lost=min(max(0, report.packetsLost), packets),  # a peer may tell what it likes
        jitter=report.jitter / clock_rate,
        round_trip=took if took is not None and took >= 0 else None,  # as above; or a clock was set
    )


def _heard_at(stream: StreamStatistics) -> float:
    """Seconds, by the clock of the day."""
    return (stream._last_arrival or 0) / stream._clockrate
