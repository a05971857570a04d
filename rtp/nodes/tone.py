"""ToneSource: a sine, paced by absolute deadlines."""

import numpy as np

from eventgraph import Event

from ..media import FULL_SCALE, PCM, AudioFrame, Samples
from .paced import PacedNode


class ToneSource(PacedNode):
    """Broadcasts a sine as PCM frames, each at the time at which its sound begins.

    What it does after a stall, see `PacedNode`.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        frequency: float = 440.0,
        level: float = -18.0,
        sample_rate: int = 8000,
        frame_duration: float = 0.02,
        resync_after: float = 0.2,
    ) -> None:
        """
        Args:
            frequency: Hz, below half the sample rate.
            level: peak of the sine in dBFS, at most 0.
            sample_rate: Hz.
            frame_duration: seconds; a whole number of samples.
            resync_after: seconds that a frame may be late by.
        Raises:
            ValueError: an option is out of range.
        """
        if not 0 < frequency < sample_rate / 2:
            raise ValueError(f"frequency is {frequency} Hz: give 0..{sample_rate / 2} exclusive")
        if not level <= 0:
            raise ValueError(f"level is {level} dBFS: give at most 0")
        super().__init__(
            scope,
            name,
            sample_rate=sample_rate,
            frame_duration=frame_duration,
            resync_after=resync_after,
        )
        self._cycles_per_sample = frequency / sample_rate
        self._amplitude = min(FULL_SCALE * 10 ** (level / 20), FULL_SCALE - 1)

    async def on_frame(self) -> None:
        frame = AudioFrame(self._sine(self.first_sample), self.sample_rate, self.first_sample)
        self._delegate.broadcast(Event(PCM, frame))

    def _sine(self, first: int) -> Samples:
        """The samples from number `first` on, with no step in the phase between frames."""
        phase = first * self._cycles_per_sample % 1.0
        cycles = phase + self._cycles_per_sample * np.arange(self.frame_samples)
        samples: Samples = np.rint(self._amplitude * np.sin(2 * np.pi * cycles)).astype(np.int16)
        return samples
