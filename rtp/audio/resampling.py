"""Resampler: mono sound from one sample rate to another, a piece at a time.

FFmpeg's, through PyAV: 20-30 µs for 20 ms. Its filter looks ahead, so sound comes out up to 2 ms
later, behind silence; pieces of whole milliseconds come out as long as they went in.
"""

from collections.abc import Sequence

import av
import numpy as np

from ..media import Samples
from .one_core import one_core


def join_frames(frames: Sequence[av.AudioFrame]) -> Samples:
    """The samples of mono frames of int16, flat."""
    if not frames:
        return np.zeros(0, np.int16)
    pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(pieces).astype(np.int16, copy=False)


class Resampler:
    """Keeps the filter's state between the pieces of one source."""

    __slots__ = ("_filter", "from_rate", "to_rate")

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """
        Args:
            from_rate, to_rate: Hz, at least 1.
        Raises:
            ValueError: a rate is out of range.
        """
        if from_rate < 1 or to_rate < 1:
            raise ValueError(f"rates are {from_rate} and {to_rate} Hz: give at least 1")
        self.from_rate = from_rate
        self.to_rate = to_rate
        self._filter = av.AudioResampler(format="s16", layout="mono", rate=to_rate)
        if from_rate != to_rate:  # the silence that the filter wants before it gives anything
            with one_core():
                self._filter.resample(self._frame(np.zeros(from_rate // 100 or 1, np.int16)))

    def resample(self, samples: Samples) -> Samples:
        """The samples (flat, int16) at the other rate, as far as they are ready."""
        if self.from_rate == self.to_rate or not len(samples):
            return samples
        return join_frames(self._filter.resample(self._frame(samples)))

    def _frame(self, samples: Samples) -> av.AudioFrame:
        row = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(row, format="s16", layout="mono")
        frame.sample_rate = self.from_rate
        return frame
