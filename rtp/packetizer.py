"""Packetizer: numbers the packets of one source that is made here."""

from collections.abc import Sequence

from .chance import randbits
from .packet import HEADER_LENGTH, RtpPacket, build_packet

_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF


class Packetizer:
    """Gives payloads an SSRC, sequence numbers, timestamps and the marker.

    Of sound (`packetize`) a packet after a gap has the marker, as after silence (RFC 3551 §4.1);
    of pictures (`packetize_frame`) it is the last packet of each (§5). Gaps stay.
    """

    __slots__ = ("_expected", "_payload_type", "_sequence_number", "_timestamp_offset", "ssrc")

    def __init__(self, payload_type: int) -> None:
        """
        Args:
            payload_type: 0..127.
        Raises:
            ValueError: out of range.
        """
        if not 0 <= payload_type <= 127:
            raise ValueError(f"payload_type is {payload_type}: choose 0..127")
        self._payload_type = payload_type
        self.begin_source()

    def begin_source(self) -> None:
        """Go on as another source: draw what RFC 3550 §5.1 wants random."""
        self.ssrc = randbits(32)
        self._sequence_number = randbits(16)
        self._timestamp_offset = randbits(32)
        self._expected: int | None = None  # timestamp of the next one, if none is missing

    def packetize(
        self,
        payload: bytes,
        timestamp: int,
        duration: int,
        csrc: Sequence[int] = (),
        level_octet: int | None = None,
    ) -> RtpPacket:
        """The next packet.

        Args:
            timestamp: of its first sample, in clock ticks; never rolls over.
            duration: clock ticks.
            csrc: at most 15.
            level_octet: of the sound in it; see `rtp.audio_level`. None: not known.
        """
        marker = int(timestamp != self._expected)
        self._expected = timestamp + duration
        return self._number(payload, timestamp, marker, csrc, level_octet)

    def packetize_frame(self, payloads: Sequence[bytes], timestamp: int) -> list[RtpPacket]:
        """The packets of a picture, which have one timestamp.

        Args:
            timestamp: clock ticks; never rolls over.
        """
        last = len(payloads) - 1
        return [
            self._number(payload, timestamp, int(place == last), (), None)
            for place, payload in enumerate(payloads)
        ]

    def _number(
        self,
        payload: bytes,
        timestamp: int,
        marker: int,
        csrc: Sequence[int],
        level_octet: int | None,
    ) -> RtpPacket:
        sequence_number = self._sequence_number
        rtp_timestamp = (timestamp + self._timestamp_offset) & _MASK_32
        data = build_packet(
            payload,
            payload_type=self._payload_type,
            sequence_number=sequence_number,
            timestamp=rtp_timestamp,
            ssrc=self.ssrc,
            marker=marker,
            csrc=csrc,
        )
        self._sequence_number = (sequence_number + 1) & _MASK_16
        return RtpPacket(
            data,
            marker,
            self._payload_type,
            sequence_number,
            rtp_timestamp,
            self.ssrc,
            HEADER_LENGTH + 4 * len(csrc),
            0,
            level_octet,
        )
