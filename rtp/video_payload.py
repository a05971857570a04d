"""What an RTP payload of VP8 or H.264 holds of a picture: RFC 7741 and RFC 6184, to be read only.

VP8, the descriptor and the first octets of a frame:

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+
    |X|R|N|S|R| PID |   S and PID 0: here a frame begins
    +-+-+-+-+-+-+-+-+
    |I|L|T|K| RSV   |   if X: PictureID of one octet or two, TL0PICIDX, TID and KEYIDX follow
    +-+-+-+-+-+-+-+-+

H.264, FU-A:

    +---------------+---------------+
    |F|NRI|  28     |S|E|R|  type   |   S: the first piece of a NAL unit
    +---------------+---------------+
"""

from typing import Final

import msgspec

from .errors import RtpError

START_CODE: Final = b"\0\0\0\1"
"""Before each NAL unit in a byte stream (H.264, annex B)."""

_IDR: Final = 5
_SPS: Final = 7
_PPS: Final = 8
_STAP_A: Final = 24
_FU_A: Final = 28


class MalformedPayloadError(RtpError):
    """A payload is not what its payload type says."""


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """A payload's share of a frame.

    Attributes:
        data: to be joined to that of the other packets of the frame.
        begins: whether a frame can begin here; what it joins on to must not be missing otherwise.
    """

    data: bytes
    begins: bool


def read_vp8(payload: bytes) -> Fragment:
    """The share of a VP8 payload; it is empty in a packet that is only padding.

    Raises:
        MalformedPayloadError: the descriptor is cut off.
    Source: RFC 7741 §4.2.
    """
    if not payload:
        return Fragment(b"", begins=False)
    first = payload[0]
    start = 1
    try:
        if first & 0x80:
            extension = payload[1]
            start = 2
            if extension & 0x80:
                start += 2 if payload[2] & 0x80 else 1
            start += bool(extension & 0x40) + bool(extension & 0x30)
    except IndexError:
        raise MalformedPayloadError("the VP8 descriptor is cut off") from None
    if start > len(payload):
        raise MalformedPayloadError("the VP8 descriptor is cut off")
    return Fragment(payload[start:], begins=first & 0x17 == 0x10)


def read_h264(payload: bytes) -> Fragment:
    """The share of an H.264 payload, as a byte stream.

    Raises:
        MalformedPayloadError: cut off, or of an interleaved mode, which WebRTC does not use.
    Source: RFC 6184 §5.6, §5.7.1 and §5.8.
    """
    if not payload:
        return Fragment(b"", begins=False)
    kind = payload[0] & 0x1F
    if 1 <= kind < _STAP_A:
        return Fragment(START_CODE + payload, begins=_begins_frame(payload))
    if kind == _STAP_A:
        units = _units_of_aggregate(payload)
        data = b"".join(START_CODE + unit for unit in units)
        return Fragment(data, begins=bool(units) and _begins_frame(units[0]))
    if kind == _FU_A and len(payload) > 2:
        if not payload[1] & 0x80:
            return Fragment(payload[2:], begins=False)
        unit = bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) + payload[2:]
        return Fragment(START_CODE + unit, begins=_begins_frame(unit))
    raise MalformedPayloadError(f"NAL unit of type {kind} in {len(payload)} octets")


def is_vp8_key_frame(frame: bytes) -> bool:
    """Whether a whole frame can be decoded without others (RFC 6386 §9.1)."""
    return len(frame) >= 10 and not frame[0] & 1 and frame[3:6] == b"\x9d\x01\x2a"


def units_of(stream: bytes) -> list[bytes]:
    """The NAL units of a byte stream as `read_h264` makes it, without start codes."""
    return [unit for unit in stream.split(START_CODE) if unit]


def is_idr(unit: bytes) -> bool:
    """Whether a NAL unit is of a picture that needs no other."""
    return unit[0] & 0x1F == _IDR


def is_slice(unit: bytes) -> bool:
    """Whether a NAL unit is of a picture, and not of what stands beside pictures."""
    return 1 <= unit[0] & 0x1F <= _IDR


def parameter_set(unit: bytes) -> int | None:
    """7 for a sequence, 8 for a picture parameter set; None: another NAL unit."""
    kind = unit[0] & 0x1F
    return kind if kind in {_SPS, _PPS} else None


def _units_of_aggregate(payload: bytes) -> list[bytes]:
    units = []
    start = 1
    while start < len(payload):
        end = start + 2 + int.from_bytes(payload[start : start + 2], "big")
        unit = payload[start + 2 : end]
        if end > len(payload) or not unit:
            raise MalformedPayloadError("a STAP-A is cut off")
        units.append(unit)
        start = end
    return units


def _begins_frame(unit: bytes) -> bool:
    """Whether a NAL unit is one that may be the first of a picture.

    Of a slice, `first_mb_in_slice` tells, an Exp-Golomb code: 0 is a single bit 1.
    """
    if is_slice(unit):
        return len(unit) > 1 and bool(unit[1] & 0x80)
    return True
