"""SilenceDetector: when sound becomes loud, and when it becomes quiet."""

from math import log10
from typing import Final

import numpy as np

from eventgraph import Event, Node, NodeDelegate

from ..audio.loudness import SILENCE_LEVEL
from ..media import END, PCM, SILENCE, SPEECH, AudioFrame, LevelChange

BLOCK: Final = 0.02
"""Seconds of sound whose level is taken: some periods of the lowest voice."""

_OVERLOAD = 32767.0**2  # mean square at 0 dBov (RFC 6465, appendix A)


class SilenceDetector(Node):
    """Broadcasts SPEECH when PCM becomes loud and SILENCE when it becomes quiet, nothing else.

    It goes by the frames' timestamps, not by a clock: sound that is missing is silence, and
    counts when the frame after it comes. It begins in silence. Speech begins with the first
    block of 20 ms at or above `threshold`. It is over when no block reached `threshold -
    hysteresis` for `hang_over` seconds, or at END; its SILENCE says since when it is quiet.

    Attributes:
        speaking: whether it is loud now.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        threshold: float = -40.0,
        hysteresis: float = 6.0,
        hang_over: float = 0.5,
    ) -> None:
        """
        Args:
            threshold: dBov, -127..0; a sine of full scale has -3.01.
            hysteresis: dB, at least 0.
            hang_over: seconds, at least 0; pauses between words are shorter than 0.5.
        Raises:
            ValueError: an option is out of range.
        """
        if not -SILENCE_LEVEL < threshold - hysteresis <= threshold <= 0:
            raise ValueError(
                f"threshold is {threshold} dBov and hysteresis {hysteresis} dB: give a threshold "
                f"of at most 0, and a hysteresis of at least 0 that stays above -{SILENCE_LEVEL}"
            )
        if not 0 <= hang_over < float("inf"):
            raise ValueError(f"hang_over is {hang_over} s: give a finite number, at least 0")
        super().__init__(scope, name)
        self.speaking = False
        self._loud = threshold
        self._quiet = threshold - hysteresis
        self._hang_over = hang_over
        self._sample_rate = 0
        self._block_samples = 0
        self._begin_block()
        self._expected: int | None = None  # timestamp of the next frame, if none is missing
        self._quiet_samples = 0  # since the last loud block

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            self._take(event.obj)
        elif event.cmd == END:
            self._end()

    def _take(self, frame: AudioFrame) -> None:
        if frame.sample_rate != self._sample_rate:
            self._end()
            self._sample_rate = frame.sample_rate
            self._block_samples = max(1, round(BLOCK * frame.sample_rate))
        if self._expected is not None and frame.timestamp > self._expected:
            self._begin_block()
            self._note(-float(SILENCE_LEVEL), frame.timestamp - self._expected, frame.timestamp)
        position = frame.timestamp
        samples = frame.samples
        while len(samples):
            piece = samples[: self._block_samples - self._count].astype(np.int64)
            samples = samples[len(piece) :]
            position += len(piece)
            self._count += len(piece)
            self._energy += int(np.dot(piece, piece))
            if self._count == self._block_samples:
                level = self._level()
                self._begin_block()
                self._note(level, self._block_samples, position)
        self._expected = position

    def _note(self, level: float, samples: int, end: int) -> None:
        """So many samples up to the timestamp `end` have this level."""
        if level < (self._quiet if self.speaking else self._loud):
            self._quiet_samples += samples
            if self.speaking and self._quiet_samples >= self._hang_over * self._sample_rate:
                self._change(SILENCE, level, end - self._quiet_samples)
        else:
            self._quiet_samples = 0
            if not self.speaking:
                self._change(SPEECH, level, end - samples)

    def _change(self, cmd: int, level: float, timestamp: int) -> None:
        self.speaking = cmd == SPEECH
        self._delegate.broadcast(Event(cmd, LevelChange(level, timestamp, self._sample_rate)))

    def _level(self) -> float:
        if not self._energy:
            return -float(SILENCE_LEVEL)
        decibels = 10 * log10(self._energy / self._count / _OVERLOAD)
        return max(-float(SILENCE_LEVEL), min(0.0, decibels))

    def _begin_block(self) -> None:
        self._energy = 0  # sum of squares
        self._count = 0  # samples

    def _end(self) -> None:
        """What comes next has another clock."""
        if self.speaking and self._expected is not None:
            since = self._expected - self._count - self._quiet_samples
            self._change(SILENCE, -float(SILENCE_LEVEL), since)
        self._begin_block()
        self._quiet_samples = 0
        self._expected = None
