"""Forwarded tracks: RTP comes in and goes out, with no codec, no jitter buffer, no queue."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcdtlstransport import RTCDtlsTransport, State
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTP_HISTORY_SIZE,
    AnyRtcpPacket,
    HeaderExtensionsMap,
    RtcpByePacket,
    RtcpPsfbPacket,
    pack_remb_fci,
)
from aiortc.rtp import RtpPacket as AiortcPacket
from aiortc.stats import RTCStatsReport

from ...packet import RtpPacket
from ..forwarding import ForwardedInput, ForwardedOutput

KEYFRAME_INTERVAL: Final = 0.5
"""Seconds between requests for key frames: each costs the peer many times an ordinary one."""
NACKS: Final = 64
"""Packets asked for at once on behalf of others."""
NTP_TO_UNIX: Final = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905 §6). aiortc's own clock takes ten times as long."""
NTP_SECOND: Final = 1 << 32
RTP_COMPONENT: Final = 1
"""Of an ICE connection; with RTCP on the same there is no other (RFC 8445 §4)."""


class ForwardingReceiver(RTCRtpReceiver):
    """Hands RTP on without decoding it.

    It asks the peer for what was lost by itself (NACK), reports on reception, and estimates
    bandwidth (REMB), like aiortc's; there is no jitter buffer and no decoder.

    Attributes:
        drops: see `ForwardedInput`.
        takes_views: whether `take` will do, as for sound; packets of video are taken apart.
    """

    _RTCRtpReceiver__remote_bitrate_estimator: RemoteBitrateEstimator | None
    _RTCRtpReceiver__remote_streams: dict[int, StreamStatistics]
    _RTCRtpReceiver__rtcp_ssrc: int | None
    _RTCRtpReceiver__rtcp_task: asyncio.Future[None] | None
    _RTCRtpReceiver__rtx_ssrc: dict[int, int]
    _RTCRtpReceiver__started: bool

    def __init__(
        self,
        kind: str,
        transport: RTCDtlsTransport,
        *,
        forward: Callable[[RtpPacket], object],
        ended: Callable[[], object],
    ) -> None:
        """
        Args:
            forward: gets each packet.
            ended: the peer said BYE.
        """
        super().__init__(kind, transport)
        self.drops: Counter[str] = Counter()
        self._forward = forward
        self._ended = ended
        self.takes_views = kind == "audio"
        self._kind = kind
        self._input: ForwardedInput | None = None
        self._media_ssrc: int | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.TimerHandle | None = None

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        if self._input is not None:
            return
        streams = self._RTCRtpReceiver__remote_streams
        self._input = ForwardedInput(parameters, streams, wants_nack=self._kind == "video")
        self.drops = self._input.drops
        self._RTCRtpReceiver__rtx_ssrc = self._input.media_ssrc
        self.transport._register_rtp_receiver(self, parameters)
        self._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(self._run_rtcp())
        self._RTCRtpReceiver__started = True

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await super().stop()

    def take(self, packet: RtpPacket) -> None:
        """As `_handle_rtp_packet`, with no work for what sound does not have."""
        if not self._enabled or self._input is None:
            return
        forwarded = self._input.take_view(packet)
        if forwarded is not None:
            self._media_ssrc = forwarded.ssrc
            self._forward(forwarded)

    async def _handle_rtp_packet(self, packet: AiortcPacket, arrival_time_ms: int) -> None:
        if not self._enabled or self._input is None:
            return
        await self._estimate_bandwidth(packet, arrival_time_ms)
        forwarded = self._input.take(packet)
        if forwarded is not None:
            if self._input.missing:
                await self._send_rtcp_nack(forwarded.ssrc, self._input.missing)
            self._media_ssrc = forwarded.ssrc
            self._forward(forwarded)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        await super()._handle_rtcp_packet(packet)
        if isinstance(packet, RtcpByePacket):
            self._media_ssrc = None
            self._ended()

    async def _estimate_bandwidth(self, packet: AiortcPacket, arrival_time_ms: int) -> None:
        estimator = self._RTCRtpReceiver__remote_bitrate_estimator
        ssrc = self._RTCRtpReceiver__rtcp_ssrc
        sent_at = packet.extensions.abs_send_time
        if estimator is None or ssrc is None or sent_at is None:
            return
        estimate = estimator.add(
            abs_send_time=sent_at,
            arrival_time_ms=arrival_time_ms,
            payload_size=len(packet.payload) + packet.padding_size,
            ssrc=packet.ssrc,
        )
        if estimate is not None:
            await self._send_rtcp(
                RtcpPsfbPacket(
                    fmt=RTCP_PSFB_APP, ssrc=ssrc, media_ssrc=0, fci=pack_remb_fci(*estimate)
                )
            )

    def request_keyframe(self) -> None:
        """Send a PLI, at most one each `KEYFRAME_INTERVAL`; the last one asked for goes out."""
        if self._media_ssrc is None or self._asking is not None:
            return  # the first frame of a stream is a key frame; or one is on its way
        loop = asyncio.get_running_loop()
        wait = max(0.0, self._asked_at + KEYFRAME_INTERVAL - loop.time())
        self._asking = loop.call_later(wait, self._ask)

    def _ask(self) -> None:
        self._asking = None
        self._asked_at = asyncio.get_running_loop().time()
        if self._media_ssrc is not None:
            drive(self._send_rtcp_pli(self._media_ssrc))

    def request_retransmission(self, sequence_numbers: list[int]) -> None:
        """Send a NACK for what a receiver of ours misses and we never had."""
        if self._media_ssrc is not None and sequence_numbers:
            drive(self._send_rtcp_nack(self._media_ssrc, sorted(sequence_numbers)[:NACKS]))


class ForwardingSender(RTCRtpSender):
    """Sends RTP that it is given, with no encoder.

    What its peer lost it resends from a history (RFC 4588); what it never had, and requests
    for key frames, it passes on.

    Attributes:
        drops: packets, by reason: "format not negotiated", "not connected".
    """

    _RTCRtpSender__ntp_timestamp: int
    _RTCRtpSender__octet_count: int
    _RTCRtpSender__packet_count: int
    _RTCRtpSender__rtp_exited: asyncio.Event
    _RTCRtpSender__rtp_header_extensions_map: HeaderExtensionsMap
    _RTCRtpSender__rtp_history: dict[int, AiortcPacket]
    _RTCRtpSender__rtp_started: asyncio.Event
    _RTCRtpSender__rtp_timestamp: int
    _RTCRtpSender__rtx_payload_type: int | None
    _RTCRtpSender__stats: RTCStatsReport

    def __init__(
        self,
        kind: str,
        transport: RTCDtlsTransport,
        *,
        keyframe_wanted: Callable[[], object],
        packet_wanted: Callable[[int], object],
    ) -> None:
        """
        Args:
            keyframe_wanted: the peer sent a PLI or a FIR.
            packet_wanted: the peer misses the source's packet of this number.
        """
        super().__init__(kind, transport)
        self.drops: Counter[str] = Counter()
        self._keyframe_wanted = keyframe_wanted
        self._packet_wanted = packet_wanted
        self._output: ForwardedOutput | None = None
        self._stopping = asyncio.Event()

    @property
    def clock_rate(self) -> int:
        """Of what was sent last, in Hz; 0 before."""
        return 0 if self._output is None else self._output.clock_rate

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        if self._output is None:
            self._output = ForwardedOutput(self._ssrc, parameters)
            self._output.drops = self.drops
            await super().send(parameters)
            self._keyframe_wanted()

    def forward(self, packet: RtpPacket) -> None:
        """Send a packet of the graph now; if it cannot be, it is counted."""
        if self._output is None:
            self.drops["not connected"] += 1
            return
        output = self._output
        data = output.take(packet, time.monotonic())
        if data is None:
            return
        try:
            send_rtp(self.transport, data)
        except ConnectionError:
            self.drops["not connected"] += 1
            return
        # For sender reports, which the base makes (RFC 3550 §6.4.1).
        self._RTCRtpSender__ntp_timestamp = round((time.time() + NTP_TO_UNIX) * NTP_SECOND)
        self._RTCRtpSender__rtp_timestamp = int.from_bytes(data[4:8])
        self._RTCRtpSender__packet_count = output.packets_sent
        self._RTCRtpSender__octet_count = output.octets_sent

    async def _run_rtp(self, codec: RTCRtpCodecParameters) -> None:
        self._RTCRtpSender__rtp_started.set()
        try:
            await self._stopping.wait()  # until `stop` cancels it
        except asyncio.CancelledError:
            self._RTCRtpSender__rtp_exited.set()
            raise

    async def _retransmit(self, sequence_number: int) -> None:
        if self._output is None:
            return
        packet = self._output.sent(sequence_number)
        if packet is None:
            self._packet_wanted(self._output.source_number(sequence_number))
            return
        history = self._RTCRtpSender__rtp_history
        history.clear()
        history[sequence_number % RTP_HISTORY_SIZE] = packet
        payload_type = self._output.rtx_payload_type(packet.payload_type)
        self._RTCRtpSender__rtx_payload_type = payload_type
        with suppress(ConnectionError):
            await super()._retransmit(sequence_number)

    def _send_keyframe(self) -> None:
        self._keyframe_wanted()


def send_rtp(transport: RTCDtlsTransport, data: bytes) -> None:
    """As `RTCDtlsTransport._send_rtp`, without the five coroutines from there to the socket.

    Raises:
        ConnectionError: it is not connected.
    """
    inner: Any = transport  # private names
    pair = inner.transport._connection._nominated.get(RTP_COMPONENT)
    if inner._state is not State.CONNECTED or pair is None:
        raise ConnectionError("not connected")
    protected = inner._tx_srtp.protect(data)
    pair.protocol.transport.sendto(protected, pair.remote_addr)
    inner._RTCDtlsTransport__tx_bytes += len(protected)
    inner._RTCDtlsTransport__tx_packets += 1


def drive(sending: Coroutine[Any, Any, None]) -> None:
    """Run one of aiortc's sends, which are coroutines that never wait, without a task.

    Raises:
        RuntimeError: it did wait.
    """
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()
    raise RuntimeError("a send of aiortc waited: this version is not the one that is known")
