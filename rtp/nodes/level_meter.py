"""LevelMeter: how loud it is."""

from collections import deque
from math import inf, log10
from typing import NamedTuple

import numpy as np

from eventgraph import Event, Node

from ..media import END, FULL_SCALE, PCM, AudioFrame


class _Block(NamedTuple):
    """What a frame adds to the window."""

    samples: int
    energy: int  # sum of squares
    peak: int  # largest magnitude


class LevelMeter(Node):
    """Measures the level of PCM over the last `window` seconds of sound.

    Levels are in dB below the largest magnitude of a sample (dBFS), so a sine of full scale
    has a peak of 0 and an RMS of -3.01. -inf is silence, also before the first frame and
    after END.

    Attributes:
        frames: how many were measured.
    """

    def __init__(self, scope: str, name: str, *, window: float = 0.4) -> None:
        """
        Args:
            window: seconds, above 0; 0.4 is the "momentary" of EBU R 128. In whole frames,
                at least one.
        Raises:
            ValueError: the window is out of range.
        """
        if not 0 < window < inf:
            raise ValueError(f"window is {window} s: give a finite number above 0")
        super().__init__(scope, name)
        self.frames = 0
        self._window = window
        self._blocks: deque[_Block] = deque()
        self._samples = 0
        self._energy = 0

    @property
    def rms(self) -> float:
        """dBFS, over the window."""
        if not self._energy:
            return -inf
        return 10 * log10(self._energy / self._samples / FULL_SCALE**2)

    @property
    def peak(self) -> float:
        """dBFS, over the window."""
        highest = max((block.peak for block in self._blocks), default=0)
        return 20 * log10(highest / FULL_SCALE) if highest else -inf

    def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            self._measure(event.obj)
        elif event.cmd == END:
            self._blocks.clear()
            self._samples = self._energy = 0

    def _measure(self, frame: AudioFrame) -> None:
        samples = frame.samples
        if not len(samples):
            return
        self.frames += 1
        wide = samples.astype(np.int64)
        block = _Block(
            len(samples),
            int(np.dot(wide, wide)),
            max(int(wide.max()), -int(wide.min())),
        )
        self._blocks.append(block)
        self._samples += block.samples
        self._energy += block.energy
        limit = self._window * frame.sample_rate
        while self._samples > limit and len(self._blocks) > 1:
            oldest = self._blocks.popleft()
            self._samples -= oldest.samples
            self._energy -= oldest.energy
