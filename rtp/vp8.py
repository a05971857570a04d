"""VP8 in RTP: frames to payloads, and back.

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+
    |X|R|N|S|R| PID |   S: a partition begins; PID 0: the first one, so the frame begins
    +-+-+-+-+-+-+-+-+
    | extension if X, then octets of the frame; bit 0 of its first octet is 0 in a key frame

Source: RFC 7741 §4.2; RFC 6386 §9.1.
"""

from aiortc.codecs.vpx import VpxPayloadDescriptor

from .video_fragment import Fragment

_BEGIN = bytes(VpxPayloadDescriptor(partition_start=1, partition_id=0))
_CONTINUE = bytes(VpxPayloadDescriptor(partition_start=0, partition_id=0))


def parse_vp8(payload: bytes) -> Fragment:
    """What a payload holds of a frame.

    Raises:
        ValueError: its descriptor is cut off, or nothing follows it.
    """
    descriptor, data = VpxPayloadDescriptor.parse(payload)
    if not data:
        raise ValueError("nothing follows the VP8 payload descriptor")
    begins = bool(descriptor.partition_start) and not descriptor.partition_id
    return Fragment(data, begins, begins and not data[0] & 1)


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
