"""What is read of aiortc's RTCP: resends are no media, and a peer may tell what it likes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket, RtpPacket

from rtp.asyncio_thread import AsyncioThread
from rtp.webrtc.aiortc_private import received, sent
from rtp.webrtc.rtp_statistics import RtpStatistics

Use = Callable[[RTCRtpSender, RTCRtpReceiver], Awaitable[RtpStatistics]]


async def with_ends(use: Use) -> RtpStatistics:
    """Of a real connection that goes nowhere."""

    async def run() -> RtpStatistics:
        connection = RTCPeerConnection()
        transceiver = connection.addTransceiver("video")
        try:
            return await use(transceiver.sender, transceiver.receiver)
        finally:
            await connection.close()

    async with AsyncioThread() as thread:
        return await thread.call(run)


def stream(*numbers: int) -> StreamStatistics:
    statistics = StreamStatistics(90000)
    for number in numbers:
        statistics.add(RtpPacket(sequence_number=number, timestamp=number * 3000))
    return statistics


async def test_all_sources_are_added_up_but_those_that_resend() -> None:
    async def use(_: RTCRtpSender, receiver: RTCRtpReceiver) -> RtpStatistics:
        first = stream(65534, 65535, 1, 2)
        await asyncio.sleep(0.01)
        last = stream(7, 9)
        streams = {1: first, 2: last, 3: stream(10, 20, 30), 4: stream(5)}
        receiver._RTCRtpReceiver__remote_streams.update(streams)  # type: ignore[attr-defined]
        receiver._RTCRtpReceiver__rtx_ssrc[3] = 1  # type: ignore[attr-defined]  # private
        found = received(receiver)
        assert found.jitter == last.jitter / 90000
        return found

    found = await with_ends(use)
    assert (found.packets, found.lost, found.round_trip) == (7, 2, None)


async def test_nothing_is_known_before_anything_came() -> None:
    async def use(sender: RTCRtpSender, receiver: RTCRtpReceiver) -> RtpStatistics:
        assert received(receiver) == RtpStatistics(0, 0)
        return sent(sender, 0)

    assert await with_ends(use) == RtpStatistics(0, 0)


@pytest.mark.parametrize(("told", "lost"), [(3, 3), (-5, 0), (0x7FFFFF, 100)])
async def test_loss_that_a_peer_tells_of_is_no_more_than_was_sent(told: int, lost: int) -> None:
    async def use(sender: RTCRtpSender, _: RTCRtpReceiver) -> RtpStatistics:
        sender._RTCRtpSender__packet_count = 100  # type: ignore[attr-defined]  # private
        report = RtcpReceiverInfo(
            ssrc=sender._ssrc,
            fraction_lost=255,
            packets_lost=told,
            highest_sequence=0,
            jitter=900,
            lsr=0,
            dlsr=0,
        )
        await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[report]))
        return sent(sender, 90000)

    assert await with_ends(use) == RtpStatistics(100, lost, 0.01)


async def test_round_trip_of_less_than_nothing_is_not_known() -> None:
    async def use(sender: RTCRtpSender, _: RTCRtpReceiver) -> RtpStatistics:
        sender._RTCRtpSender__lsr = 7  # type: ignore[attr-defined]  # private
        report = RtcpReceiverInfo(sender._ssrc, 0, 0, 0, 0, lsr=7, dlsr=0xFFFFFFFF)
        sender._RTCRtpSender__lsr_time = 4e9  # type: ignore[attr-defined]  # as above
        await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[report]))
        return sent(sender, 90000)

    assert (await with_ends(use)).round_trip is None
