"""CameraPictures: H.264 as a camera sends it becomes RTP as a browser takes it. No codec runs.

A key frame gets the parameter sets in front of it, so that a viewer or a file may begin with it:
many cameras tell them only once, in the description of the stream (RFC 6184 §8.1).
"""

import re
from collections import Counter
from typing import Final

from rtp.packet import RtpPacket
from rtp.packetizer import Packetizer
from rtp.video.h264 import START_CODE, ParameterSets, is_h264_key_frame, read_h264, split_h264

PAYLOAD_TYPE: Final = 101
"""Of H.264 inside the graph (`rtp.payload_format.GRAPH_FORMATS`)."""
PAYLOAD_SIZE: Final = 1200
"""Octets; what DTLS-SRTP and tunnels leave of a datagram."""
CLOCK_RATE: Final = 90000
"""Ticks a second (RFC 6184 §8.2.1)."""
MAX_FRAME: Final = 4_000_000
"""Octets; of an encoded picture."""
NOMINAL: Final = CLOCK_RATE // 25
"""Ticks that a frame lasts of which nothing is known."""
OTHER_CLOCK: Final = 1.0
"""Seconds by which timestamps may go back before it is another source."""

_ANY_START_CODE: Final = re.compile(rb"\x00{2,}\x01")
_SPS: Final = 7
_TYPE: Final = 0x1F


class CameraPictures:
    """The pictures of one camera.

    Attributes:
        drops: frames, by reason: "empty", "too large", "before key frame".
        reordered: frames whose time is before that of the last: the camera sends B-frames, which
            browsers show in the wrong order.
        frames: that went on.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.reordered = 0
        self.frames = 0
        self._packetizer = Packetizer(PAYLOAD_TYPE)
        self.begin(b"")

    def begin(self, description: bytes) -> None:
        """What follows is of another source.

        Args:
            description: NAL units that were told beside the stream, with start codes; or nothing.
        """
        self._packetizer.begin_source()
        self._parameter_sets = ParameterSets()
        self._parameter_sets.learn(units_in(description))
        self._started = False
        self._offset: int | None = None
        self._last = -NOMINAL

    def packets(self, frame: bytes, time: float | None) -> list[RtpPacket]:
        """The packets of a frame; none: it is counted in `drops`.

        Args:
            frame: NAL units with start codes.
            time: seconds on the camera's clock; None: it said nothing, as of a first frame.
        """
        units = units_in(frame)
        if not units or len(frame) > MAX_FRAME:
            self.drops["too large" if units else "empty"] += 1
            return []
        self._parameter_sets.learn(units)
        if is_h264_key_frame(units):
            complete = self._parameter_sets.complete(units)
            if complete is not None:
                frame = complete
                self._started = True
        if not self._started:
            self.drops["before key frame"] += 1
            return []
        self.frames += 1
        return self._packetizer.packetize_frame(
            split_h264(frame, PAYLOAD_SIZE), self._timestamp(time)
        )

    def _timestamp(self, time: float | None) -> int:
        """Clock ticks that only go up."""
        follows = self._last + NOMINAL
        if time is None:
            timestamp = follows
        else:
            ticks = round(time * CLOCK_RATE)
            if self._offset is None:
                self._offset = follows - ticks
            if ticks + self._offset < self._last - OTHER_CLOCK * CLOCK_RATE:  # its clock was set
                self._offset = follows - ticks
            timestamp = ticks + self._offset
            if timestamp <= self._last:
                self.reordered += 1
                timestamp = self._last + 1
        self._last = timestamp
        return timestamp


def units_in(data: bytes) -> list[bytes]:
    """NAL units without the start codes before them (ITU-T H.264, annex B)."""
    return [unit for part in _ANY_START_CODE.split(data)[1:] if (unit := part.rstrip(b"\0"))]


def begins_key_frame(packet: RtpPacket) -> bool:
    """Whether a packet that was made here is the first of a key frame: parameter sets lead it."""
    fragment = read_h264(packet.payload)
    if fragment is None or not fragment.begins:
        return False
    kinds = {unit[0] & _TYPE for unit in fragment.data.split(START_CODE) if unit}
    return _SPS in kinds
