"""Player: a file becomes sound, paced by absolute deadlines."""

from collections import Counter, deque
from pathlib import Path
from typing import Final

import trio

from eventgraph import Event, Node, NodeDelegate

from ..media import END, PCM, AudioFrame, EndOfStream, EndReason, Samples
from ..media_file import MediaFile

_TICK: Final = -1
"""An event to oneself: the next frame, as in `ToneSource`."""
_READ_AHEAD: Final = 0.5
"""Seconds of sound that are read in one go, while the next frame is not due yet."""


class Player(Node):
    """Broadcasts the sound of a file as mono PCM frames, and END at its end.

    It reads whatever FFmpeg does, and resamples. Each frame goes out at the time at which its
    sound begins; one that is late goes at once, and the next ones catch up. After a stall of more
    than `resync_after` seconds it goes on where it was: no sound is left out, and timestamps jump
    over the time that has gone by. Files are read in a thread.

    A file that cannot be read, or has no sound, crashes the node as it enters.

    Attributes:
        finished: whether END was sent.
        stalls: how often it went on so.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        path: str | Path,
        loop: bool = False,
        sample_rate: int = 8000,
        frame_duration: float = 0.02,
        resync_after: float = 0.2,
    ) -> None:
        """
        Args:
            path: of the file.
            loop: begin again at the end, without a gap, for ever.
            sample_rate: Hz of the frames.
            frame_duration: seconds; a whole number of samples.
            resync_after: seconds that a frame may be late by.
        Raises:
            ValueError: an option is out of range.
        """
        samples = round(sample_rate * frame_duration)
        if samples < 1 or abs(samples - sample_rate * frame_duration) > 1e-6:
            raise ValueError(
                f"frame_duration is {frame_duration} s: not a whole number of samples "
                f"at {sample_rate} Hz"
            )
        if not resync_after >= 0:
            raise ValueError(f"resync_after is {resync_after} s: it must not be negative")
        super().__init__(scope, name)
        self.path = Path(path)
        self.finished = False
        self.stalls = 0
        self._loop = loop
        self._sample_rate = sample_rate
        self._frame_samples = samples
        self._resync_after = resync_after
        self._read_ahead = max(2, round(_READ_AHEAD / frame_duration))
        self._file: MediaFile | None = None
        self._frames: deque[Samples] = deque()
        self._complete = False  # everything has been read
        self._next = 0  # frame
        self._ticking = False

    @property
    def drops(self) -> Counter[str]:
        """Packets of the file that were not played, by reason: "undecodable"."""
        return Counter() if self._file is None else Counter(self._file.drops)

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._file = await trio.to_thread.run_sync(self._open)
        await self._read()
        self._start = trio.current_time()
        self._ticking = delegate.deliver_self(Event(_TICK))

    async def on_event(self, event: Event) -> None:
        if event.cmd == _TICK:
            await self._send_next()
            self._ticking = False
        # Others may have filled the channel: then try after their events.
        if not self._ticking and not self.finished:
            self._ticking = self._delegate.deliver_self(Event(_TICK))

    def on_exit(self) -> None:
        if self._file is not None:
            self._file.close()

    async def _send_next(self) -> None:
        # From the start each time: a sum of rounded durations would drift.
        await trio.sleep_until(self._start + self._seconds(self._next))
        late = trio.current_time() - self._start - self._seconds(self._next)
        if late > self._resync_after:
            self.stalls += 1
            self._next += int(late / self._seconds(1))
        if not self._frames:
            self.finished = True
            self._delegate.broadcast(Event(END, EndOfStream(EndReason.CLOSED)))
            return
        frame = AudioFrame(
            self._frames.popleft(), self._sample_rate, self._next * self._frame_samples
        )
        self._delegate.broadcast(Event(PCM, frame))
        self._next += 1
        if len(self._frames) < self._read_ahead // 2:
            await self._read()

    def _open(self) -> MediaFile:
        return MediaFile(self.path, self._sample_rate, self._frame_samples, loop=self._loop)

    async def _read(self) -> None:
        if self._complete or self._file is None:
            return
        frames = await trio.to_thread.run_sync(self._file.read, self._read_ahead)
        self._complete = len(frames) < self._read_ahead
        self._frames.extend(frames)

    def _seconds(self, frames: int) -> float:
        return frames * self._frame_samples / self._sample_rate
