"""FrameVoice: PCM becomes a party's sound."""

from collections import Counter
from typing import Final

from ..audio.resampling import Resampler
from ..audio.sample_queue import SampleQueue
from ..media import AudioFrame, Samples
from .voice import VoiceStatistics

FRAME_TARGET: Final = 0.04
"""Seconds that frames wait, so that those which come a frame late are in time."""
FRAME_LIMIT: Final = 0.2
"""Seconds of sound that may wait; what is more is taken back to the target at once."""


class FrameVoice:
    """Plays PCM frames that come about as fast as the room takes them.

    Attributes:
        open: False once the party is gone.
    """

    ssrc: Final = None
    heavy: Final = False

    def __init__(self, party: str, sample_rate: int) -> None:
        """
        Args:
            party: who speaks.
            sample_rate: of the room, Hz.
        """
        self.party = party
        self.open = True
        self._sample_rate = sample_rate
        self._target = round(FRAME_TARGET * sample_rate)
        self._limit = round(FRAME_LIMIT * sample_rate)
        self._resampler = Resampler(sample_rate, sample_rate)
        self._queue = SampleQueue()
        self._filling = True
        self._delay = 0.0
        self._drops: Counter[str] = Counter()

    def put(self, frame: AudioFrame) -> None:
        """A frame has arrived, of any rate."""
        if frame.sample_rate != self._resampler.from_rate:
            self._resampler = Resampler(frame.sample_rate, self._sample_rate)
        queue = self._queue
        queue.put(self._resampler.resample(frame.samples))
        if len(queue) > self._limit:
            self._drops["overflow"] += 1
            queue.take(len(queue) - self._target)

    def gather(self, due: float, frame_samples: int) -> None:
        self._delay = len(self._queue) / self._sample_rate
        if self._filling:
            self._filling = len(self._queue) < max(self._target, frame_samples)
        elif len(self._queue) < frame_samples:
            self._filling = True  # a gap: what comes next waits again

    def undecoded(self, frame_samples: int) -> None:
        return None

    def take_decoded(self, samples: Samples) -> None:
        raise AssertionError("there was nothing to decode")

    def render(self, frame_samples: int) -> Samples | None:
        return None if self._filling else self._queue.take(frame_samples)

    def statistics(self) -> VoiceStatistics:
        return VoiceStatistics(self.party, self._delay, FRAME_TARGET, 0, dict(self._drops))
