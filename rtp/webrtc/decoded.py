"""Decoded tracks: frames of the graph become frames of aiortc."""

import asyncio
import time
from collections import Counter, deque
from typing import Final

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from ..audio.resampling import Resampler
from ..media import AudioFrame

FRAMES: Final = 25
"""Frames that wait for an encoder: half a second of sound, which a listener would call late."""
MAX_GAP: Final = 10.0
"""Seconds: where timestamps of one source jump further than this, it is another source."""
PIECE: Final = 0.02
"""Seconds of sound that go to the encoder at once: a longer frame would become several
packets with one timestamp (aiortc 1.16)."""


class OutgoingTrack(MediaStreamTrack):
    """A track whose frames are pushed; the sender takes them when it can.

    Attributes:
        drops: frames, by reason: "encoder too slow", "no timestamp".
        skipped: seconds by which the peer's timestamps are ahead of the frames', for pauses.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.drops: Counter[str] = Counter()
        self.skipped = 0.0
        self._frames: asyncio.Queue[AudioFrame | av.VideoFrame] = asyncio.Queue(FRAMES)
        self._pieces: deque[AudioFrame] = deque()
        self._resampler: Resampler | None = None
        self._rates = (0, 0)  # of the resampler: from, to
        self._pts = 0  # samples
        self._expected: float | None = None  # where the next frame begins, by its timestamps
        self._due = 0.0  # and by the clock

    def push(self, frame: AudioFrame | av.VideoFrame) -> None:
        """Hand a frame over; if it cannot be taken it is counted in `drops`."""
        if isinstance(frame, av.VideoFrame) and (frame.pts is None or frame.time_base is None):
            self.drops["no timestamp"] += 1
            return
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.drops["encoder too slow"] += 1

    async def recv(self) -> av.AudioFrame | av.VideoFrame:
        frame, _ = await self.next_frame()
        return frame if isinstance(frame, av.VideoFrame) else _av_frame(frame)

    async def next_frame(self) -> tuple[AudioFrame | av.VideoFrame, bool]:
        """The next frame for the encoder, and whether another source began with it.

        Sound comes in pieces of a packet, at one rate, with timestamps that have no gaps.
        """
        if self.readyState != "live":
            raise MediaStreamError
        if self._pieces:
            return self._pieces.popleft(), False
        while True:
            frame = await self._frames.get()
            if isinstance(frame, av.VideoFrame):
                return frame, self._note_image(frame)
            restarted = self._note_sound(frame)
            self._pieces.extend(self._pieces_of(frame))
            if self._pieces:
                return self._pieces.popleft(), restarted

    def _note_sound(self, frame: AudioFrame) -> bool:
        start = frame.timestamp / frame.sample_rate
        ahead = self._ahead(start)
        if ahead is None:
            self.skipped += max(0.0, time.monotonic() - self._due) if self._expected else 0.0
        elif ahead >= PIECE / 2:
            self.skipped += ahead
        self._expected = start + frame.duration
        self._due = time.monotonic() + frame.duration
        return ahead is None

    def _note_image(self, frame: av.VideoFrame) -> bool:
        assert frame.pts is not None  # else `push` had refused it
        assert frame.time_base is not None
        start = float(frame.pts * frame.time_base)
        ahead = self._ahead(start)
        now = time.monotonic()
        if ahead is None and self._expected is not None:
            self.skipped += self._expected - start + max(0.0, now - self._due)
        self._expected = start
        self._due = now
        return ahead is None

    def _ahead(self, start: float) -> float | None:
        """Seconds that a frame is ahead of the one before; None: it is of another source."""
        if self._expected is None:
            return None
        ahead = start - self._expected
        return ahead if -PIECE / 2 <= ahead <= MAX_GAP else None

    def _pieces_of(self, frame: AudioFrame) -> list[AudioFrame]:
        rate = self._rates[1] or frame.sample_rate
        if (frame.sample_rate, rate) != self._rates:
            self._rates = (frame.sample_rate, rate)
            self._resampler = None
            if frame.sample_rate != rate:  # an encoder takes one rate, that of the first frame
                self._resampler = Resampler(frame.sample_rate, rate)
        samples = frame.samples
        if self._resampler is not None:
            samples = self._resampler.resample(samples)
        size = round(rate * PIECE)
        pieces = []
        for first in range(0, len(samples), size):
            piece = AudioFrame(samples[first : first + size], rate, self._pts)
            self._pts += len(piece.samples)
            pieces.append(piece)
        return pieces


def copy_image(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of one's own: encoders write into it, and others may have the same one."""
    copy = av.VideoFrame.from_ndarray(frame.to_ndarray(format="yuv420p"), "yuv420p")
    copy.pts = frame.pts
    copy.time_base = frame.time_base
    return copy


def _av_frame(piece: AudioFrame) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.reshape(piece.samples, (1, -1)), "s16", "mono")
    frame.sample_rate = piece.sample_rate
    frame.pts = piece.timestamp
    return frame
