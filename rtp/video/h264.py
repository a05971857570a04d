"""H.264 in RTP: frames to payloads, and back, in packetization mode 1.

    single NAL unit   +--------+-------------------------------+
                      |F|NRI|T | the rest of it                |
    STAP-A (T 24)     +--------+----+----------+----+----------+
                      |F|NRI|24|size| NAL unit |size| NAL unit |   parameter sets, mostly
    FU-A (T 28)       +--------+--------+----------------------+
                      |F|NRI|28|S|E|R|T | a part of a NAL unit |   what is too large
                      +--------+--------+----------------------+

Frames are byte streams (ITU-T H.264, annex B). Source: RFC 6184 §5.6 to §5.8; NAL units: ITU-T
H.264, table 7-1 and §7.4.1.2.3.
"""

import re
from typing import Final

from .fragment import PADDING, Fragment

START_CODE: Final = b"\0\0\0\1"

_SLICES: Final = range(1, 6)
_IDR: Final = 5
_SPS: Final = 7
_PPS: Final = 8
_BEFORE_SLICES: Final = {*range(6, 10), *range(14, 19)}  # SEI, parameter sets, delimiter, prefix
_STAP_A: Final = 24
_FU_A: Final = 28
_TYPE: Final = 0x1F
_NRI: Final = 0x60
_START_BIT: Final = 0x80
_END_BIT: Final = 0x40
_FIRST_SLICE: Final = 0x80  # first_mb_in_slice is 0: in Exp-Golomb code the bit 1
_ANY_START_CODE: Final = re.compile(rb"\x00{2,}\x01")


def read_h264(payload: bytes) -> Fragment | None:
    """What a payload holds of a frame, with start codes before NAL units.

    Returns:
        None: it is cut off, or of a type that packetization mode 1 does not have.
    """
    if not payload:
        return PADDING
    if _is_fragment(payload) and not payload[1] & _START_BIT:
        return Fragment(payload[2:], begins=False)
    units = _units_in(payload)
    if not units:
        return None
    return Fragment(b"".join(START_CODE + unit for unit in units), _begins_frame(units[0]))


def split_h264(frame: bytes, size: int) -> list[bytes]:
    """The payloads of an encoded frame.

    Args:
        frame: NAL units with start codes before them.
        size: octets in the largest payload, at least 3.
    """
    payloads: list[bytes] = []
    together: list[bytes] = []
    length = 1  # of a STAP-A of those together
    for part in _ANY_START_CODE.split(frame)[1:]:
        unit = part.rstrip(b"\0")  # no NAL unit ends so: they are of the next start code
        if not unit:
            continue
        if together and length + 2 + len(unit) > size:
            payloads.append(_join(together))
            together, length = [], 1
        if len(unit) > size:
            payloads += _cut(unit, size)
        else:
            together.append(unit)
            length += 2 + len(unit)
    if together:
        payloads.append(_join(together))
    return payloads


def units_of(frame: bytes) -> list[bytes]:
    """The NAL units of a frame whose parts `read_h264` gave, without start codes."""
    return [unit for unit in frame.split(START_CODE) if unit]


def has_slice(units: list[bytes]) -> bool:
    """Whether there is something of a picture, and not only of what stands beside pictures."""
    return any(unit[0] & _TYPE in _SLICES for unit in units)


def may_begin_h264_key_frame(data: bytes) -> bool:
    """Whether the beginning of a frame may be that of a key frame."""
    kind = data[len(START_CODE)] & _TYPE
    return kind == _IDR or kind not in _SLICES


def is_h264_key_frame(units: list[bytes]) -> bool:
    """Whether a decoder can begin with these NAL units of a frame, given parameter sets.

    So it can with an IDR picture. Encoders that make none after the first send a parameter set
    again where they make an intra picture; others send one before every picture.
    """
    kinds = {unit[0] & _TYPE for unit in units}
    return _IDR in kinds or (_SPS in kinds and all(map(_is_intra, units)))


class ParameterSets:
    """The parameter sets of one source, for key frames that come without them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def learn(self, units: list[bytes]) -> None:
        """Note those that are among these NAL units."""
        for unit in units:
            if unit[0] & _TYPE in {_SPS, _PPS}:
                self._known[unit[0] & _TYPE] = unit

    def complete(self, units: list[bytes]) -> bytes | None:
        """A key frame with parameter sets in it; None: they have not come yet."""
        if len(self._known) < 2:
            return None
        given = {unit[0] & _TYPE for unit in units}
        missing = [unit for kind, unit in sorted(self._known.items()) if kind not in given]
        return b"".join(START_CODE + unit for unit in missing + units)


def _is_intra(unit: bytes) -> bool:
    """Whether a NAL unit does not begin a picture that needs others.

    Slice type 2 is 011 in Exp-Golomb code, and 7, all slices of the picture, is 0001000.
    """
    if unit[0] & _TYPE not in _SLICES:
        return True
    first = unit[1] if len(unit) > 1 else 0
    return first & 0xF0 == 0xB0 or first == 0x88 or not first & _FIRST_SLICE


def _begins_frame(unit: bytes) -> bool:
    """Whether a NAL unit may be the first of a frame."""
    kind = unit[0] & _TYPE
    if kind in _SLICES:
        return len(unit) > 1 and bool(unit[1] & _FIRST_SLICE)
    return kind in _BEFORE_SLICES


def _is_fragment(payload: bytes) -> bool:
    return len(payload) > 2 and payload[0] & _TYPE == _FU_A


def _units_in(payload: bytes) -> list[bytes]:
    """The NAL units that are in a payload or begin there; none: it is malformed."""
    kind = payload[0] & _TYPE
    if 1 <= kind < _STAP_A:
        return [payload]
    if _is_fragment(payload):
        return [bytes([payload[0] & ~_TYPE | payload[1] & _TYPE]) + payload[2:]]
    return _units_of_aggregate(payload) if kind == _STAP_A else []


def _units_of_aggregate(payload: bytes) -> list[bytes]:
    units = []
    start = 1
    while start < len(payload):
        end = start + 2 + int.from_bytes(payload[start : start + 2], "big")
        unit = payload[start + 2 : end]
        if end > len(payload) or not unit:
            return []
        units.append(unit)
        start = end
    return units


def _join(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    importance = max(unit[0] & _NRI for unit in units)
    return bytes([importance | _STAP_A]) + b"".join(len(u).to_bytes(2) + u for u in units)


def _cut(unit: bytes, size: int) -> list[bytes]:
    indicator = unit[0] & _NRI | _FU_A
    kind = unit[0] & _TYPE
    step = size - 2
    payloads = []
    for start in range(1, len(unit), step):
        end = start + step
        flags = _START_BIT * (start == 1) | _END_BIT * (end >= len(unit))
        payloads.append(bytes([indicator, flags | kind]) + unit[start:end])
    return payloads
