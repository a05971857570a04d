"""Forwarded tracks, as far as they are no matter of aiortc's insides: what comes in becomes
packets of the graph, and packets of the graph become what goes out. No I/O.

Packets are not taken apart and put together by aiortc where it can be helped: its objects take
three times as long as the views of `rtp.packet`.
"""

import struct
from collections import Counter
from typing import Final

import msgspec
from aiortc import clock
from aiortc.codecs import is_rtx
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtcrtpreceiver import NackGenerator, StreamStatistics
from aiortc.rtp import RTP_HISTORY_SIZE, HeaderExtensions, HeaderExtensionsMap, unwrap_rtx
from aiortc.rtp import RtpPacket as AiortcPacket

from ..audio_level import level_octet
from ..outgoing import OutgoingStream
from ..packet import HEADER_LENGTH, RtpPacket, build_packet, with_extension
from ..payload_format import PayloadFormat
from .formats import graph_payload_type, session_payload_types

MAX_SOURCES: Final = 16
"""SSRCs of one track that are kept count of: a peer that draws new ones must not fill memory."""

_MASK_16 = 0xFFFF
_EXTENSION_HEAD = struct.Struct("!HH")  # profile, length in words: RFC 3550 §5.3.1


class ForwardedInput:
    """From the peer to the graph: RTX is unwrapped, loss is noticed, payloads stay untouched.

    Attributes:
        drops: packets that were not forwarded, by reason: "unknown payload type",
            "too many sources", "rtx of unknown source", "rtx padding".
        missing: sequence numbers, for a NACK; not empty just after loss was noticed.
        media_ssrc: of which source another one resends (RFC 4588), by the SSRC of the latter.
    """

    def __init__(
        self,
        parameters: RTCRtpReceiveParameters,
        streams: dict[int, StreamStatistics],
        *,
        wants_nack: bool,
    ) -> None:
        """
        Args:
            parameters: what was negotiated.
            streams: by SSRC, for receiver reports; filled here.
            wants_nack: whether the peer keeps a history to resend from.
        """
        self.drops: Counter[str] = Counter()
        self.missing: list[int] = []
        self._streams = streams
        self._codecs = {codec.payloadType: codec for codec in parameters.codecs}
        self._numbers = {pt: graph_payload_type(codec) for pt, codec in self._codecs.items()}
        self.media_ssrc = {e.rtx.ssrc: e.ssrc for e in parameters.encodings if e.rtx}
        self._nacks = NackGenerator() if wants_nack else None

    def take_view(self, packet: RtpPacket) -> RtpPacket | None:
        """As `take`, where nothing is resent and no bandwidth is estimated, as of sound."""
        number = self._numbers.get(packet.payload_type)
        if number is None:
            self.drops["unknown payload type"] += 1
            return None
        if not self._count(packet):
            return None
        if number == packet.payload_type:
            return packet
        data = packet.data
        renumbered = b"".join((data[:1], bytes((packet.marker << 7 | number,)), data[2:]))
        return msgspec.structs.replace(packet, data=renumbered, payload_type=number)

    def take(self, packet: AiortcPacket) -> RtpPacket | None:
        """Turn a received packet into one of the graph; None: it is counted in `drops`."""
        self.missing = []
        codec = self._codecs.get(packet.payload_type)
        if codec is None:
            self.drops["unknown payload type"] += 1
            return None
        if not self._count(packet):
            return None
        if is_rtx(codec):
            ssrc = self.media_ssrc.get(packet.ssrc)
            original = codec.parameters.get("apt")
            if ssrc is None or not isinstance(original, int) or original not in self._codecs:
                self.drops["rtx of unknown source"] += 1
                return None
            if len(packet.payload) < 2:  # a probe for bandwidth: no original number in it
                self.drops["rtx padding"] += 1
                return None
            packet = unwrap_rtx(packet, payload_type=original, ssrc=ssrc)
        if self._nacks is not None and self._nacks.add(packet):
            self.missing = sorted(self._nacks.missing)
        number = self._numbers[packet.payload_type]
        if number is None:
            self.drops["unknown payload type"] += 1
            return None
        data = build_packet(
            packet.payload,
            payload_type=number,
            sequence_number=packet.sequence_number,
            timestamp=packet.timestamp,
            ssrc=packet.ssrc,
            marker=packet.marker,
            csrc=packet.csrc,
        )
        told = packet.extensions.audio_level  # (voice activity, level), if it was agreed on
        return RtpPacket(
            data,
            packet.marker,
            number,
            packet.sequence_number,
            packet.timestamp,
            packet.ssrc,
            HEADER_LENGTH + 4 * len(packet.csrc),
            0,
            level_octet(told[1], told[0]) if told else None,
        )

    def _count(self, packet: AiortcPacket | RtpPacket) -> bool:
        """For the report on its source; False: that is one too many."""
        stream = self._streams.get(packet.ssrc)
        if stream is None:
            if len(self._streams) >= MAX_SOURCES:
                self.drops["too many sources"] += 1
                return False
            clock_rate = self._codecs[packet.payload_type].clockRate
            stream = self._streams[packet.ssrc] = StreamStatistics(clock_rate)
        stream.add(packet)  # type: ignore[arg-type]  # it looks at the numbers, which both have
        return True


class ForwardedOutput:
    """From the graph to the peer: its payload types, our SSRC, one numbering, a history.

    Attributes:
        drops: packets that were not sent, by reason: "format not negotiated".
    """

    def __init__(self, ssrc: int, parameters: RTCRtpSendParameters) -> None:
        """
        Args:
            ssrc: ours.
            parameters: what the peer agreed on: codecs, header extensions, and the mid of the
                media section (RFC 9143), which is sent along.
        """
        codecs = parameters.codecs
        self.drops: Counter[str] = Counter()
        self._mid = parameters.muxId
        self._extensions_map = HeaderExtensionsMap()
        self._extensions_map.configure(parameters)
        self._timed = any(ext.uri.endswith("abs-send-time") for ext in parameters.headerExtensions)
        self._extensions: dict[int | None, bytes] = {}  # by level, of which there are 256
        self._payload_types = session_payload_types(codecs)
        self._rtx = {c.parameters.get("apt"): c.payloadType for c in codecs if is_rtx(c)}
        formats = {
            c.payloadType: PayloadFormat(c.name, c.clockRate)
            for c in codecs
            if c.payloadType is not None and not is_rtx(c)
        }
        self._stream = OutgoingStream(ssrc, formats)
        self._offset = 0
        self._history: dict[int, bytes] = {}  # bounded: by place in a ring

    @property
    def packets_sent(self) -> int:
        """Those that were taken."""
        return self._stream.packets_sent

    @property
    def octets_sent(self) -> int:
        """Of their payloads."""
        return self._stream.octets_sent

    @property
    def clock_rate(self) -> int:
        """Of the last of them, in Hz; 0 before."""
        return self._stream.clock_rate

    def take(self, packet: RtpPacket, now: float) -> bytes | None:
        """Turn a packet of the graph into a datagram to send; None: it is counted in `drops`.

        Args:
            now: seconds.
        """
        payload_type = self._payload_types.get(packet.payload_type)
        if payload_type is None:
            self.drops["format not negotiated"] += 1
            return None
        # A header extension of another session means nothing here: only our own go out, of those
        # that were agreed on.
        data = self._stream.forward(packet, now, payload_type)
        extension = self._extensions.get(packet.level_octet)
        if extension is None:
            extension = self._make_extension(packet.level_octet)
        if extension:
            data = with_extension(data, extension)
        sequence_number = data[2] << 8 | data[3]
        self._offset = (sequence_number - packet.sequence_number) & _MASK_16
        self._history[sequence_number % RTP_HISTORY_SIZE] = data
        return data

    def sent(self, sequence_number: int) -> AiortcPacket | None:
        """What was sent under a number, if it is not too long ago."""
        data = self._history.get(sequence_number % RTP_HISTORY_SIZE)
        if data is None or data[2] << 8 | data[3] != sequence_number:
            return None
        return AiortcPacket.parse(data, self._extensions_map)

    def rtx_payload_type(self, payload_type: int) -> int | None:
        """Under which type a packet of this one is resent (RFC 4588); None: as it was."""
        return self._rtx.get(payload_type)

    def source_number(self, sequence_number: int) -> int:
        """The number that a packet has, or would have had, at the source."""
        return (sequence_number - self._offset) & _MASK_16

    def _make_extension(self, level: int | None) -> bytes:
        """The whole header extension; kept for the next of that level unless the time is in it."""
        values = HeaderExtensions(mid=self._mid)
        if level is not None:
            values.audio_level = (level > 0x7F, level & 0x7F)
        if self._timed:
            values.abs_send_time = clock.current_ntp_time() >> 14 & 0xFFFFFF
        profile, value = self._extensions_map.set(values)
        extension = _EXTENSION_HEAD.pack(profile, len(value) >> 2) + value if value else b""
        if not self._timed:
            self._extensions[level] = extension
        return extension
