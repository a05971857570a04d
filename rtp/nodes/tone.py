"""ToneSource: a sine, paced by absolute deadlines."""

from typing import Final

import numpy as np
import trio

from eventgraph import Event, Node, NodeDelegate

from ..media import FULL_SCALE, PCM, AudioFrame, Samples

_TICK: Final = -1
"""An event to oneself: the next frame. Deadlines instead of sleeps of one frame each,
because what each sleep is late by would add up."""


class ToneSource(Node):
    """Broadcasts a sine as PCM frames, each at the time at which its sound begins.

    A frame that is late is sent at once, and the next ones catch up. After a stall of more
    than `resync_after` seconds (the machine slept, a hook hogged the thread) the frames in
    between are left out: timestamps jump over them, and the tone is in time again.

    Attributes:
        frames_skipped: left out so.
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
        samples = round(sample_rate * frame_duration)
        if not 0 < frequency < sample_rate / 2:
            raise ValueError(f"frequency is {frequency} Hz: give 0..{sample_rate / 2} exclusive")
        if not level <= 0:
            raise ValueError(f"level is {level} dBFS: give at most 0")
        if samples < 1 or abs(samples - sample_rate * frame_duration) > 1e-6:
            raise ValueError(
                f"frame_duration is {frame_duration} s: not a whole number of samples "
                f"at {sample_rate} Hz"
            )
        if not resync_after >= 0:
            raise ValueError(f"resync_after is {resync_after} s: it must not be negative")
        super().__init__(scope, name)
        self.frames_skipped = 0
        self._cycles_per_sample = frequency / sample_rate
        self._amplitude = min(FULL_SCALE * 10 ** (level / 20), FULL_SCALE - 1)
        self._sample_rate = sample_rate
        self._frame_samples = samples
        self._resync_after = resync_after
        self._next = 0  # frame
        self._ticking = False

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._start = trio.current_time()
        self._ticking = delegate.deliver_self(Event(_TICK))

    async def on_event(self, event: Event) -> None:
        if event.cmd == _TICK:
            await self._send_next()
            self._ticking = False
        if not self._ticking:  # others may have filled the channel: then try after their events
            self._ticking = self._delegate.deliver_self(Event(_TICK))

    async def _send_next(self) -> None:
        # From the start each time: a sum of rounded durations would drift.
        await trio.sleep_until(self._start + self._seconds(self._next))
        late = trio.current_time() - self._start - self._seconds(self._next)
        if late > self._resync_after:
            skipped = int(late / self._seconds(1))
            self.frames_skipped += skipped
            self._next += skipped
        first = self._next * self._frame_samples
        frame = AudioFrame(self._sine(first), self._sample_rate, first)
        self._delegate.broadcast(Event(PCM, frame))
        self._next += 1

    def _seconds(self, frames: int) -> float:
        return frames * self._frame_samples / self._sample_rate

    def _sine(self, first: int) -> Samples:
        """The samples from number `first` on, with no step in the phase between frames."""
        phase = first * self._cycles_per_sample % 1.0
        cycles = phase + self._cycles_per_sample * np.arange(self._frame_samples)
        samples: Samples = np.rint(self._amplitude * np.sin(2 * np.pi * cycles)).astype(np.int16)
        return samples
