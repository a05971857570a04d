"""VideoPacketizer: numbers the packets of one source of video that is made here."""

import secrets
from collections.abc import Sequence

from ..packet import RtpPacket, build_packet, parse_packet

_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF


class VideoPacketizer:
    """Gives the payloads of a frame an SSRC, sequence numbers, one timestamp, and the marker.

    Unlike sound, video has the marker on the last packet of a frame (RFC 3551 §5).
    """

    __slots__ = ("_payload_type", "_sequence_number", "_timestamp_offset", "ssrc")

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
        self.ssrc = secrets.randbits(32)
        self._sequence_number = secrets.randbits(16)
        self._timestamp_offset = secrets.randbits(32)

    def packetize(self, payloads: Sequence[bytes], timestamp: int) -> list[RtpPacket]:
        """The packets of a frame.

        Args:
            timestamp: clock ticks; never rolls over.
        """
        packets = []
        for left, payload in zip(range(len(payloads) - 1, -1, -1), payloads, strict=True):
            packet = parse_packet(
                build_packet(
                    payload,
                    payload_type=self._payload_type,
                    sequence_number=self._sequence_number,
                    timestamp=(timestamp + self._timestamp_offset) & _MASK_32,
                    ssrc=self.ssrc,
                    marker=int(not left),
                )
            )
            assert isinstance(packet, RtpPacket)
            self._sequence_number = (self._sequence_number + 1) & _MASK_16
            packets.append(packet)
        return packets
