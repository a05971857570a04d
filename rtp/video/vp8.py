"""VP8 in RTP: frames to payloads, and back.

The descriptor before the octets of a frame:

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+
    |X|R|N|S|R| PID |   S and PID 0: here a frame begins
    +-+-+-+-+-+-+-+-+
    |I|L|T|K| RSV   |   if X: PictureID of one octet or two, TL0PICIDX, TID and KEYIDX follow
    +-+-+-+-+-+-+-+-+

Source: RFC 7741 §4.2; the head of a frame: RFC 6386 §9.1.
"""

from typing import Final

from .fragment import PADDING, Fragment

_BEGIN: Final = b"\x10"
_CONTINUE: Final = b"\x00"
_EXTENDED: Final = 0x80
_PICTURE_ID: Final = 0x80
_LONG_PICTURE_ID: Final = 0x80
_TL0PICIDX: Final = 0x40
_TID_OR_KEYIDX: Final = 0x30
_START_AND_PARTITION: Final = 0x17
_INTERFRAME: Final = 0x01  # in the first octet of a frame
_START_CODE: Final = b"\x9d\x01\x2a"


def read_vp8(payload: bytes) -> Fragment | None:
    """What a payload holds of a frame; None: its descriptor is cut off."""
    if not payload:
        return PADDING
    start = 1
    if payload[0] & _EXTENDED:
        flags = payload[1] if len(payload) > 1 else 0
        start = 2
        if flags & _PICTURE_ID:
            start += 2 if payload[2:] and payload[2] & _LONG_PICTURE_ID else 1
        start += bool(flags & _TL0PICIDX) + bool(flags & _TID_OR_KEYIDX)
    if start > len(payload):
        return None
    return Fragment(payload[start:], begins=payload[0] & _START_AND_PARTITION == _BEGIN[0])


def may_begin_vp8_key_frame(data: bytes) -> bool:
    """Whether the beginning of a frame may be that of a key frame."""
    return not data[0] & _INTERFRAME


def is_vp8_key_frame(frame: bytes) -> bool:
    """Whether a whole frame can be decoded without others."""
    return len(frame) >= 10 and not frame[0] & _INTERFRAME and frame[3:6] == _START_CODE


def split_vp8(frame: bytes, size: int) -> list[bytes]:
    """The payloads of an encoded frame.

    Args:
        frame: as libvpx gives it.
        size: octets in the largest payload, at least 2.
    """
    step = size - len(_BEGIN)
    return [
        (_CONTINUE if start else _BEGIN) + frame[start : start + step]
        for start in range(0, len(frame), step)
    ]
