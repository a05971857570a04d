"""H.264 in RTP: frames to payloads, and back, in packetization mode 1.

    single NAL unit   +--------+-------------------------------+
                      |F|NRI|T | the rest of it                |
    STAP-A (T 24)     +--------+----+----------+----+----------+
                      |F|NRI|24|size| NAL unit |size| NAL unit |   parameter sets, mostly
    FU-A (T 28)       +--------+--------+----------------------+
                      |F|NRI|28|S|E|R|T | a part of a NAL unit |   what is too large
                      +--------+--------+----------------------+

Source: RFC 6184 §5.6 to §5.8; types of NAL units: ITU-T H.264, table 7-1.
"""

import re
from typing import Final

from aiortc.codecs.h264 import h264_depayload

from .video_fragment import Fragment

SLICE: Final = 1
IDR_SLICE: Final = 5
PARAMETER_SET: Final = 7
"""A sequence parameter set: encoders that send no IDR send it where a decoder can begin."""
STAP_A: Final = 24
FU_A: Final = 28

_BEFORE_SLICES = range(6, 10)  # SEI, parameter sets, delimiter
_TYPE = 0x1F
_NRI = 0x60
_START_BIT = 0x80
_END_BIT = 0x40
_FIRST_SLICE_BIT = 0x80  # first_mb_in_slice is 0, an Exp-Golomb code of one bit
_START_CODE = re.compile(rb"\x00{2,}\x01")


def parse_h264(payload: bytes) -> Fragment:
    """What a payload holds of a frame, with start codes before NAL units.

    Raises:
        ValueError: it is cut off, or of a type that packetization mode 1 does not have.
    """
    data = h264_depayload(payload)
    kind = payload[0] & _TYPE
    if kind == FU_A:
        kind = payload[1] & _TYPE
        begins = bool(payload[1] & _START_BIT) and _begins_frame(kind, payload[2:3])
        return Fragment(data, begins, kind == IDR_SLICE)
    units = _START_CODE.split(data)[1:]
    if not units or not units[0]:
        raise ValueError("there is no NAL unit in the payload")
    begins = _begins_frame(units[0][0] & _TYPE, units[0][1:2])
    return Fragment(
        data, begins, any(u and u[0] & _TYPE in {IDR_SLICE, PARAMETER_SET} for u in units)
    )


def split_h264(frame: bytes, size: int) -> list[bytes]:
    """The payloads of an encoded frame.

    Args:
        frame: NAL units with start codes before them (ITU-T H.264, annex B).
        size: octets in the largest payload, at least 3.
    """
    payloads: list[bytes] = []
    together: list[bytes] = []
    length = 1  # of a STAP-A of those together
    for part in _START_CODE.split(frame)[1:]:
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


def _begins_frame(kind: int, slice_header: bytes) -> bool:
    if kind in {SLICE, IDR_SLICE}:
        return bool(slice_header) and bool(slice_header[0] & _FIRST_SLICE_BIT)
    return kind in _BEFORE_SLICES


def _join(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    importance = max(unit[0] & _NRI for unit in units)
    return bytes([importance | STAP_A]) + b"".join(len(u).to_bytes(2) + u for u in units)


def _cut(unit: bytes, size: int) -> list[bytes]:
    indicator = unit[0] & _NRI | FU_A
    kind = unit[0] & _TYPE
    step = size - 2
    payloads = []
    for start in range(1, len(unit), step):
        end = start + step
        flags = _START_BIT * (start == 1) | _END_BIT * (end >= len(unit))
        payloads.append(bytes([indicator, flags | kind]) + unit[start:end])
    return payloads
