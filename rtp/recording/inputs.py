"""The two inputs of a recorder: what arrives becomes sound and pictures with a place in the file.

No I/O and no clock; nothing that arrives raises. Each follows one source at a time: another takes
over when the first has been silent for `TAKE_OVER_AFTER` seconds, or is over.
"""

from collections import Counter
from collections.abc import Mapping
from math import inf, isfinite
from typing import Final

import av
import numpy as np

from ..media import AudioFrame
from ..packet import RtpPacket
from ..reorder import ReorderBuffer
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper
from ..video.frames import EncodedFrame, FrameAssembler
from .clock import RecordingClock
from .opus_packet import OPUS_RATE, opus_samples
from .recorded import PICTURE_RATE, EncodedPicture, OpusSound, PcmSound, RawPicture

TAKE_OVER_AFTER: Final = 0.2
"""Seconds; a source that is heard meanwhile keeps its place, so that stragglers change nothing."""
REORDERED_WITHIN: Final = 0.1
"""Seconds that a packet of sound is waited for."""
SAMPLE_RATES: Final = range(4000, 384001)
"""Hz that a resampler takes with sense."""
MAX_PIXELS: Final = 8192 * 8192
MAX_TIME: Final = 1e9
"""Seconds on the clock of a source, either way; 31 years."""

_LATE_FOR: Final = 0.2  # seconds of late sound only, after which it is joined on


class _Turn:
    """Whose turn it is to be recorded."""

    __slots__ = ("_heard", "source")

    def __init__(self) -> None:
        self.source: int | str | None = None
        self._heard = -inf

    def refuses(self, source: int | str, now: float) -> bool:
        """Whether another source has the turn."""
        if source != self.source and now - self._heard < TAKE_OVER_AFTER:
            return True
        self._heard = now
        return False

    def is_of(self, ssrc: int | None) -> bool:
        """Whether this SSRC has it; None: any."""
        return ssrc is None or ssrc == self.source

    def end(self) -> None:
        """Anybody may be next."""
        self._heard = -inf


class SoundInput:
    """Opus packets and PCM frames, in order and with a place.

    Attributes:
        drops: by reason: "another source", "malformed", "late", "duplicate", "sequence jump",
            "wrong format".
    """

    def __init__(self, clock: RecordingClock) -> None:
        self.drops: Counter[str] = Counter()
        self._clock = clock
        self._turn = _Turn()
        self._reorder = ReorderBuffer(max_wait=REORDERED_WITHIN, max_packets=64)
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._end = 0  # place after the last
        self._joins = True  # what comes next must not overlap the last, whatever its clock says
        self._late_since: float | None = None

    def put_packet(self, packet: RtpPacket, now: float) -> list[OpusSound | PcmSound]:
        """A packet of Opus; what is in order now."""
        if self._turn.refuses(packet.ssrc, now):
            self.drops["another source"] += 1
            return []
        placed: list[OpusSound | PcmSound] = []
        if packet.ssrc != self._turn.source:
            placed = self._begin(packet.ssrc)
        for arrival, ready in self._reorder.put(packet, now):
            self._place_packet(ready, arrival, placed)
        return placed

    def put_frame(self, frame: AudioFrame, now: float) -> list[OpusSound | PcmSound]:
        """Samples."""
        if not _is_sound(frame):
            self.drops["wrong format"] += 1
            return []
        if self._turn.refuses("pcm", now):
            self.drops["another source"] += 1
            return []
        placed = self._begin("pcm") if self._turn.source != "pcm" else []
        length = round(len(frame.samples) * OPUS_RATE / frame.sample_rate)
        place = self._place(frame.timestamp / frame.sample_rate, length, now)
        if place is not None:
            placed.append(PcmSound(place, frame.sample_rate, frame.samples))
        return placed

    def follows(self, ssrc: int | None) -> bool:
        """Whether the end of this SSRC is the end of what is recorded."""
        return self._turn.is_of(ssrc)

    def end(self) -> list[OpusSound | PcmSound]:
        """The source is over; what waited of it."""
        placed = self.flush()
        self._turn.end()
        self._turn.source = None
        return placed

    def flush(self) -> list[OpusSound | PcmSound]:
        """What waits for packets that are missing."""
        placed: list[OpusSound | PcmSound] = []
        for arrival, packet in self._reorder.flush():
            self._place_packet(packet, arrival, placed)
        self.drops += self._reorder.drops
        self._reorder.drops.clear()
        return placed

    def _begin(self, source: int | str) -> list[OpusSound | PcmSound]:
        placed = self.flush()
        self._turn.source = source
        self._reorder = ReorderBuffer(max_wait=REORDERED_WITHIN, max_packets=64)
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._clock.begin_sound()
        self._joins = True
        return placed

    def _place_packet(
        self, packet: RtpPacket, arrival: float, placed: list[OpusSound | PcmSound]
    ) -> None:
        payload = packet.payload
        samples = opus_samples(payload)
        time = self._unwrapper.unwrap(packet.timestamp) / OPUS_RATE
        if samples is None:
            self.drops["malformed"] += 1
            return
        place = self._place(time, samples, arrival)
        if place is not None:
            placed.append(OpusSound(place, samples, payload))

    def _place(self, time: float, length: int, arrival: float) -> int | None:
        place = round(self._clock.place_sound(time, arrival) * OPUS_RATE)
        if place < self._end - length // 2:
            if self._late_since is None:
                self._late_since = arrival
            if not self._joins and arrival - self._late_since < _LATE_FOR:
                self.drops["late"] += 1
                return None
            place = self._end
            self._clock.join_sound(time, place / OPUS_RATE)
        self._late_since = None
        self._joins = False
        self._end = place + length
        return place

    def note_recorded(self, place: int) -> None:
        """The file has sound up to there: silence, where pictures went on without sound."""
        self._end = max(self._end, place)


class PictureInput:
    """Pictures, encoded or not, with a place.

    Attributes:
        drops: by reason: those of `FrameAssembler`, "another source", "wrong format".
    """

    def __init__(self, clock: RecordingClock, encodings: Mapping[int, str]) -> None:
        """
        Args:
            encodings: "VP8" or "H264", by payload type.
        """
        self._own_drops: Counter[str] = Counter()
        self._clock = clock
        self._turn = _Turn()
        self._assembler = FrameAssembler(encodings)
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)

    @property
    def drops(self) -> Counter[str]:
        """See the class."""
        return self._own_drops + self._assembler.drops + self._assembler.frames_dropped

    def put_packet(self, packet: RtpPacket, now: float) -> list[EncodedPicture]:
        """A packet of an encoded frame; the frames that are whole now."""
        if self._turn.refuses(packet.ssrc, now):
            self._own_drops["another source"] += 1
            return []
        placed: list[EncodedPicture] = []
        if packet.ssrc != self._turn.source:
            placed = self._place_all(self._assembler.flush())
            self._begin(packet.ssrc)
        return placed + self._place_all(self._assembler.put(packet, now))

    def put_frame(self, frame: av.VideoFrame, now: float) -> RawPicture | None:
        """A picture that is not encoded."""
        pts, base = frame.pts, frame.time_base
        time = float(pts * base) if pts is not None and base is not None else inf
        pixels = frame.width * frame.height
        if not (isfinite(time) and abs(time) < MAX_TIME and 4 <= pixels <= MAX_PIXELS):
            self._own_drops["wrong format"] += 1
            return None
        if self._turn.refuses("frames", now):
            self._own_drops["another source"] += 1
            return None
        if self._turn.source != "frames":
            self._begin("frames")
        place = self._clock.place_picture(time, now)
        return RawPicture(round(place * PICTURE_RATE), frame)

    @property
    def lost_packets(self) -> int:
        """That never came."""
        return self._assembler.lost

    def follows(self, ssrc: int | None) -> bool:
        """Whether the end of this SSRC is the end of what is recorded."""
        return self._turn.is_of(ssrc)

    def end(self) -> None:
        """The source is over; the same may go on all the same."""
        self._turn.end()

    def flush(self) -> list[EncodedPicture]:
        """What waits for packets that are missing, as far as it is whole."""
        return self._place_all(self._assembler.flush())

    def wants_key_frame(self, now: float) -> bool:
        """Whether to ask the source for one, now."""
        return self._assembler.wants_key_frame(now)

    def require_key_frame(self) -> None:
        """A frame that was given out could not be recorded."""
        self._assembler.require_key_frame()

    def _begin(self, source: int | str) -> None:
        self._turn.source = source
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._clock.begin_picture()
        self._assembler.require_key_frame()

    def _place_all(self, frames: list[EncodedFrame]) -> list[EncodedPicture]:
        placed = []
        for frame in frames:
            time = self._unwrapper.unwrap(frame.timestamp) / PICTURE_RATE
            place = round(self._clock.place_picture(time, frame.arrival) * PICTURE_RATE)
            placed.append(EncodedPicture(place, frame.data, frame.key))
        return placed


def _is_sound(frame: AudioFrame) -> bool:
    samples = frame.samples
    return (
        isinstance(samples, np.ndarray)
        and samples.dtype == np.int16
        and samples.ndim == 1
        and frame.sample_rate in SAMPLE_RATES
        and 0 < len(samples) <= 10 * frame.sample_rate
        and isinstance(frame.timestamp, int)
        and abs(frame.timestamp) < MAX_TIME * frame.sample_rate
    )
