"""RTP packets: a header-only view of what was received, and a serialiser.

`aiortc.rtp.RtpPacket` decodes everything and copies the payload (1.0 µs); a server
that forwards reads five header fields. So this view, with the same attribute names,
unpacks the fixed header once and leaves CSRCs, extension and payload to whoever asks.
It is a `msgspec.Struct` without gc tracking, because that is the cheapest object to
make that still has named fields and is immutable: an event may carry it to many nodes.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |V=2|P|X|  CC   |M|     PT      |        sequence number        |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                           timestamp                           |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                             SSRC                              |
    +=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
    |                      CSRC, CC times 32 bits                   |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |   profile of the extension    |   its length in 32-bit words  |  if X
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |       extension, payload, padding (last octet: how much) if P |

Source: RFC 3550 §5.1 and §5.3.1.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from .audio_level import find_level
from .drops import DropReason

VERSION: Final = 2
HEADER_LENGTH: Final = 12
"""Octets of the fixed header."""
MAX_CSRC: Final = 15
"""The CC field has four bits."""

_HEADER = struct.Struct("!BBHLL")
_unpack_header = _HEADER.unpack_from
_pack_header = _HEADER.pack

_PADDING_BIT = 0x20
_EXTENSION_BIT = 0x10
_CSRC_COUNT = 0x0F
_PLAIN = VERSION << 6  # first octet with no padding, no extension, no CSRC: nearly all packets


class RtpPacket(msgspec.Struct, frozen=True, gc=False):
    """One received RTP packet. Get it from `parse_packet`, which checks it.

    Attributes:
        data: the whole datagram.
        marker: 0 or 1, as in aiortc.
        payload_type: 0..127.
        sequence_number: 0..65535.
        timestamp: clock ticks, 0..2**32-1.
        ssrc: 0..2**32-1.
        payload_start: octets before the payload.
        padding_size: octets after the payload, its length octet included.
        level_octet: voice activity and level of the sound (RFC 6464 §3), as the sender told or
            the encoder measured; None: not known. Not in `data` of packets that are made here.
    """

    data: bytes
    marker: int
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload_start: int
    padding_size: int
    level_octet: int | None = None

    def __repr__(self) -> str:
        return (
            f"RtpPacket(ssrc={self.ssrc}, payload_type={self.payload_type}, "
            f"sequence_number={self.sequence_number}, timestamp={self.timestamp}, "
            f"marker={self.marker}, {len(self.payload)} octets)"
        )

    @property
    def version(self) -> int:
        """Always 2: `parse_packet` lets no other pass."""
        return VERSION

    @property
    def payload(self) -> bytes:
        """A copy, as bytes: for what fits in a datagram cheaper than a memoryview, and hashable."""
        return self.data[self.payload_start : len(self.data) - self.padding_size]

    @property
    def csrc(self) -> list[int]:
        """SSRCs of the sources that a mixer put into this packet; at most 15."""
        count = self.data[0] & _CSRC_COUNT
        return list(struct.unpack_from(f"!{count}L", self.data, HEADER_LENGTH))

    @property
    def audio_level(self) -> int | None:
        """Of the sound in it, 0 (loudest) .. 127 (silence), in -dBov; None: not known."""
        return None if self.level_octet is None else self.level_octet & 0x7F

    @property
    def has_voice(self) -> bool | None:
        """Whether the sender takes the sound in it for speech; None: not known."""
        return None if self.level_octet is None else self.level_octet > 0x7F

    @property
    def extension(self) -> tuple[int, bytes] | None:
        """(profile, value) of the header extension, undecoded; None if there is none.

        `aiortc.rtp.unpack_header_extensions(*extension)` takes it apart (RFC 8285).
        """
        if not self.data[0] & _EXTENSION_BIT:
            return None
        start = HEADER_LENGTH + 4 * (self.data[0] & _CSRC_COUNT)
        return (
            int.from_bytes(self.data[start : start + 2], "big"),
            self.data[start + 4 : self.payload_start],
        )

    def rewritten(
        self, ssrc: int, sequence_number: int, timestamp: int, payload_type: int, marker: int
    ) -> bytes:
        """The same packet under another header; CSRCs and payload are untouched.

        Its header extension stays behind: what that means was agreed on with somebody else.

        Args:
            ssrc, sequence_number, timestamp, payload_type, marker: the new values, in range.
        """
        data = self.data
        first = data[0]
        if first & _EXTENSION_BIT:
            first &= ~_EXTENSION_BIT
            end_of_csrc = HEADER_LENGTH + 4 * (first & _CSRC_COUNT)
            rest = data[HEADER_LENGTH:end_of_csrc] + data[self.payload_start :]
        else:
            rest = data[HEADER_LENGTH:]
        return (
            _pack_header(first, marker << 7 | payload_type, sequence_number, timestamp, ssrc) + rest
        )


def with_extension(data: bytes, extension: bytes) -> bytes:
    """Put a header extension into a packet.

    Args:
        data: a packet that has none.
        extension: the whole of it, with profile and length.
    """
    end_of_csrc = HEADER_LENGTH + 4 * (data[0] & _CSRC_COUNT)
    return b"".join(
        (
            bytes((data[0] | _EXTENSION_BIT,)),
            data[1:end_of_csrc],
            extension,
            data[end_of_csrc:],
        )
    )


def parse_packet(data: bytes, level_id: int | None = None) -> RtpPacket | DropReason:
    """View a datagram as an RTP packet.

    Args:
        data: one datagram, whatever is in it.
        level_id: element of its header extension that has the level; None: none has.
    Returns:
        the packet, or why it is none (TRUNCATED, WRONG_VERSION or MALFORMED). Never raises:
        what the network sends is not an exceptional case.
    Source: RFC 3550, appendix A.1.
    """
    if len(data) < HEADER_LENGTH:
        return DropReason.TRUNCATED
    first, second, sequence_number, timestamp, ssrc = _unpack_header(data)
    if first == _PLAIN:
        return RtpPacket(
            data,
            second >> 7,
            second & 0x7F,
            sequence_number,
            timestamp,
            ssrc,
            HEADER_LENGTH,
            0,
        )
    if first >> 6 != VERSION:
        return DropReason.WRONG_VERSION
    end_of_csrc = payload_start = HEADER_LENGTH + 4 * (first & _CSRC_COUNT)
    if first & _EXTENSION_BIT:
        words = int.from_bytes(data[end_of_csrc + 2 : end_of_csrc + 4], "big")
        payload_start += 4 + 4 * words
    if len(data) < payload_start:
        return DropReason.TRUNCATED
    level = None
    if level_id is not None and first & _EXTENSION_BIT:
        profile = int.from_bytes(data[end_of_csrc : end_of_csrc + 2], "big")
        level = find_level(profile, data[end_of_csrc + 4 : payload_start], level_id)
    padding_size = 0
    if first & _PADDING_BIT:
        padding_size = data[-1]
        if not 0 < padding_size <= len(data) - payload_start:
            return DropReason.MALFORMED
    return RtpPacket(
        data,
        second >> 7,
        second & 0x7F,
        sequence_number,
        timestamp,
        ssrc,
        payload_start,
        padding_size,
        level,
    )


def build_packet(
    payload: bytes,
    *,
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    marker: int = 0,
    csrc: Sequence[int] = (),
) -> bytes:
    """Serialise a new packet, without padding or extension.

    Args:
        payload_type: 0..127.
        sequence_number: 0..65535.
        timestamp, ssrc: 0..2**32-1.
        marker: 0 or 1.
        csrc: at most 15 SSRCs.
    Raises:
        ValueError: a number is outside its field.
    """
    if not 0 <= payload_type <= 127 or marker not in {0, 1} or len(csrc) > MAX_CSRC:
        raise ValueError(
            f"payload type {payload_type} must be 0..127, marker {marker} 0 or 1, "
            f"and {len(csrc)} CSRCs at most {MAX_CSRC}"
        )
    try:
        header = _pack_header(
            _PLAIN | len(csrc), marker << 7 | payload_type, sequence_number, timestamp, ssrc
        )
        return b"".join((header, struct.pack(f"!{len(csrc)}L", *csrc), payload))
    except struct.error as error:
        raise ValueError(
            f"sequence number {sequence_number} must fit 16 bits; timestamp {timestamp}, "
            f"SSRC {ssrc} and CSRCs {list(csrc)} 32 bits"
        ) from error


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram on a port shared by RTP and RTCP is RTCP.

    Not `aiortc.rtp.is_rtcp`: that stops at packet type 208, whereas the RFC gives all
    of 192..223 to RTCP. The price, also the RFC's: RTP payload types 64..95 cannot be
    used on a shared port.

    Source: RFC 5761 §4.
    """
    return len(data) >= 2 and 192 <= data[1] <= 223
