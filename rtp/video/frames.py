"""FrameAssembler: RTP packets of VP8 or H.264 in, whole encoded frames out. No I/O, no clock.

For whoever needs frames as a decoder or a file takes them:

    assembler = FrameAssembler({97: "VP8"})
    for frame in assembler.put(packet, now):     # any packet of one track, as it arrives
        decoder.decode(frame.data, pts)          # key frame first; nothing missing in between
    if assembler.wants_key_frame(now):           # at most once in `REQUEST_INTERVAL` seconds
        delegate.broadcast(Event(KEYFRAME_REQUEST))

What comes out can be decoded from the first frame on: after a loss nothing comes until the next
key frame. A packet that is late is waited for, `max_wait` seconds at most. Memory is bounded by
`max_packets` and `max_frame` octets. Whatever the packets hold, nothing is raised.

aiortc's jitter buffer gives frames too, but it drops silently, and does not say when it lost one.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from ..packet import RtpPacket
from ..reorder import ReorderBuffer
from ..seqnum import SEQUENCE_NUMBER_MODULUS
from .h264 import (
    ParameterSets,
    has_slice,
    is_h264_key_frame,
    may_begin_h264_key_frame,
    read_h264,
    units_of,
)
from .vp8 import is_vp8_key_frame, may_begin_vp8_key_frame, read_vp8

ENCODINGS: Final = ("VP8", "H264")
_MASK_16: Final = SEQUENCE_NUMBER_MODULUS - 1
_OVERHEAD: Final = 64  # octets of memory that a part takes beside its own
REQUEST_INTERVAL: Final = 0.5
"""Seconds between requests for a key frame: it needs a round trip, and is large."""


class EncodedFrame(msgspec.Struct, frozen=True):
    """One picture, encoded.

    Attributes:
        data: VP8 as in RFC 6386; H.264 as a byte stream with start codes, and with parameter sets
            in each key frame.
        timestamp: as on the wire, 0..2**32-1, at 90 kHz.
        ssrc: of its packets.
        encoding: "VP8" or "H264".
        arrival: of its first packet (seconds, on the clock of `now`).
        key: whether a decoder can begin with it.
    """

    data: bytes
    timestamp: int
    ssrc: int
    encoding: str
    arrival: float
    key: bool


class FrameAssembler:
    """Makes frames of the packets of one track.

    A new SSRC begins with a key frame of its own, and so does another encoding.

    Attributes:
        drops: packets, by reason: "unknown payload type", "malformed", "late", "duplicate",
            "sequence jump". One that is only padding is none.
        frames_dropped: by reason: "incomplete", "too large", "before key frame",
            "no parameter sets".
        lost: packets that never came.
    """

    def __init__(
        self,
        encodings: Mapping[int, str],
        *,
        max_wait: float = 0.2,
        max_packets: int = 512,
        max_frame: int = 4_000_000,
    ) -> None:
        """
        Args:
            encodings: "VP8" or "H264", by payload type.
            max_wait: seconds that a packet waits for those before it.
            max_packets: that wait at most.
            max_frame: octets of a frame, about.
        Raises:
            ValueError: another encoding.
        """
        for encoding in encodings.values():
            if encoding not in ENCODINGS:
                raise ValueError(f"encoding is {encoding!r}: choose one of {list(ENCODINGS)}")
        self.drops: Counter[str] = Counter()
        self.frames_dropped: Counter[str] = Counter()
        self.lost = 0
        self._encodings = dict(encodings)
        self._max_wait = max_wait
        self._max_packets = max_packets
        self._max_frame = max_frame
        self._requested_at: float | None = None  # also of sources before: they may alternate
        self._begin_source(None)

    def put(self, packet: RtpPacket, now: float) -> list[EncodedFrame]:
        """Take a packet; the frames that are whole now, in order.

        Args:
            now: time of arrival (seconds).
        """
        frames: list[EncodedFrame] = []
        if packet.payload_type not in self._encodings:
            self.drops["unknown payload type"] += 1
            return frames
        if packet.ssrc != self._ssrc:
            frames = self.flush()
            self._begin_source(packet.ssrc)
        for arrival, ready in self._reorder.put(packet, now):
            self._take(ready, arrival, frames)
        self._count_reordering()
        return frames

    def flush(self) -> list[EncodedFrame]:
        """What is whole of what waits: the source is over, and the next begins anew."""
        frames: list[EncodedFrame] = []
        for arrival, packet in self._reorder.flush():
            self._take(packet, arrival, frames)
        self._count_reordering()
        self._spoil("incomplete")  # its marker has not come
        self._finish(frames)
        self._begin_source(None)
        return frames

    def wants_key_frame(self, now: float) -> bool:
        """Whether to ask the source for a key frame: one is missing, and none is on its way.

        Args:
            now: seconds, on any clock that goes on.
        """
        if not self._waits_for_key or self._ssrc is None or self._is_receiving_key_frame():
            return False
        if self._requested_at is not None and now - self._requested_at < REQUEST_INTERVAL:
            return False
        self._requested_at = now
        return True

    def require_key_frame(self) -> None:
        """Give nothing before the next key frame: whoever takes the frames left one out."""
        self._waits_for_key = True

    def _begin_source(self, ssrc: int | None) -> None:
        self._ssrc = ssrc
        self._reorder = ReorderBuffer(max_wait=self._max_wait, max_packets=self._max_packets)
        self._next: int | None = None  # sequence number
        self._begin_frame(None, 0.0)
        self._begin_encoding("")

    def _begin_encoding(self, encoding: str) -> None:
        self._encoding = encoding
        self._waits_for_key = True
        self._parameter_sets = ParameterSets()

    def _begin_frame(self, timestamp: int | None, arrival: float) -> None:
        self._timestamp = timestamp  # None between frames
        self._arrival = arrival
        self._parts: list[bytes] = []
        self._size = 0
        self._fault: str | None = None

    def _take(self, packet: RtpPacket, arrival: float, frames: list[EncodedFrame]) -> None:
        if packet.sequence_number != self._next:
            self._waits_for_key = True
            self._spoil("incomplete")
        self._next = packet.sequence_number + 1 & _MASK_16
        encoding = self._encodings[packet.payload_type]
        if encoding != self._encoding:
            self._finish(frames)
            self._begin_encoding(encoding)
        part = (read_vp8 if encoding == "VP8" else read_h264)(packet.payload)
        if part is not None and not part.data:
            return  # padding: it has a number, and nothing to show
        if packet.timestamp != self._timestamp:
            self._finish(frames)  # of a sender that sets no marker
            self._begin_frame(packet.timestamp, arrival)
            if part is not None and not part.begins:
                self._spoil("incomplete")
        self._arrival = min(self._arrival, arrival)
        if part is None:
            self.drops["malformed"] += 1
            self._spoil("incomplete")
        elif self._size > self._max_frame:
            self._spoil("too large")
        elif self._fault is None:
            self._size += len(part.data) + _OVERHEAD
            self._parts.append(part.data)
        if packet.marker:
            self._finish(frames)

    def _spoil(self, reason: str) -> None:
        """The frame that is being received is of no use."""
        self._fault = self._fault or reason
        self._parts.clear()
        self._size = 0

    def _finish(self, frames: list[EncodedFrame]) -> None:
        """The frame that is being received has ended."""
        timestamp, fault = self._timestamp, self._fault
        data = b"".join(self._parts)
        arrival = self._arrival
        self._begin_frame(None, 0.0)
        if timestamp is None or self._ssrc is None:
            return
        if fault is not None:
            self.frames_dropped[fault] += 1
            self._waits_for_key = True
            return
        data, key = self._judge(data)
        if not data:
            return
        if self._waits_for_key and not key:
            self.frames_dropped["before key frame"] += 1
            return
        self._waits_for_key = False
        frames.append(EncodedFrame(data, timestamp, self._ssrc, self._encoding, arrival, key))

    def _judge(self, data: bytes) -> tuple[bytes, bool]:
        """The frame as it is to be given out, if it is one, and whether it is a key frame."""
        if self._encoding == "VP8":
            return data, is_vp8_key_frame(data)
        units = units_of(data)
        self._parameter_sets.learn(units)
        if not has_slice(units):
            return b"", False
        if not is_h264_key_frame(units):
            return data, False
        complete = self._parameter_sets.complete(units)
        if complete is None:
            self.frames_dropped["no parameter sets"] += 1
            self._waits_for_key = True
        return complete or b"", True

    def _is_receiving_key_frame(self) -> bool:
        """As far as its beginning tells."""
        if not self._parts:
            return False
        first = self._parts[0]
        if self._encoding == "VP8":
            return may_begin_vp8_key_frame(first)
        return may_begin_h264_key_frame(first)

    def _count_reordering(self) -> None:
        self.drops += self._reorder.drops
        self._reorder.drops.clear()
        self.lost += self._reorder.lost
        self._reorder.lost = 0
