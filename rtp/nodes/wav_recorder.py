"""WavRecorder: sound becomes a file."""

from collections import Counter
from pathlib import Path

import trio

from eventgraph import Event, Node

from ..audio.wav import MAX_SAMPLES, WavFile
from ..media import END, PCM, AudioFrame, Samples


class WavRecorder(Node):
    """Writes PCM to a WAV file, which plays at every moment, also after a kill -9.

    Frames are placed by their timestamps: one that is late goes where it belongs, and what
    is missing is silence. A gap of more than `max_gap` seconds is shortened to that; a jump
    back by more, and what follows END, is taken for another source and joins on.

    Frames are gathered for `flush_interval` seconds of sound and then written by a thread.
    If the disk is slower than that for long, the channel fills, and refusals are counted on
    the link: nothing else waits for the disk.

    Attributes:
        samples_silent: put in for what was missing; late frames may have filled some.
        gaps_shortened: how many.
        drops: frames that were not written, by reason: "wrong sample rate", "file full".
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        path: str | Path,
        sample_rate: int = 8000,
        max_gap: float = 10.0,
        flush_interval: float = 0.5,
    ) -> None:
        """
        Args:
            path: of the file; one that exists is replaced.
            sample_rate: Hz; frames of another are not taken.
            max_gap: seconds of silence at most for sound that is missing.
            flush_interval: seconds of sound that a kill -9 may lose; 0 writes each frame.
        Raises:
            ValueError: an option is out of range.
        """
        if sample_rate < 1:
            raise ValueError(f"sample_rate is {sample_rate} Hz: give at least 1")
        if not (max_gap >= 0 and flush_interval >= 0):
            raise ValueError(
                f"max_gap is {max_gap} s and flush_interval is {flush_interval} s: "
                "neither may be negative"
            )
        super().__init__(scope, name)
        self.path = Path(path)
        self.samples_silent = 0
        self.gaps_shortened = 0
        self.drops: Counter[str] = Counter()
        self._sample_rate = sample_rate
        self._max_gap = round(max_gap * sample_rate)
        self._flush_samples = round(flush_interval * sample_rate)
        self._file: WavFile | None = None
        self._pending: list[tuple[int, Samples]] = []
        self._pending_samples = 0
        self._offset: int | None = None  # from timestamps to positions; None before a source
        self._end = 0  # position after the last sample

    async def on_enter(self, _delegate: object) -> None:
        self._file = await trio.to_thread.run_sync(WavFile, self.path, self._sample_rate)

    async def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            self._place(event.obj)
            if self._pending_samples >= self._flush_samples:
                await self._flush()
        elif event.cmd == END:
            self._offset = None
            await self._flush()

    async def on_exit(self) -> None:
        if self._file is None:
            return
        try:
            await self._flush()
        finally:
            self._file.close()

    def _place(self, frame: AudioFrame) -> None:
        """Decide where in the file the frame belongs."""
        if frame.sample_rate != self._sample_rate:
            self.drops["wrong sample rate"] += 1
            return
        if self._offset is None:
            self._offset = self._end - frame.timestamp
        gap = frame.timestamp + self._offset - self._end
        if gap > self._max_gap:
            self.gaps_shortened += 1
            self._offset -= gap - self._max_gap
            gap = self._max_gap
        elif gap < -self._max_gap or self._end + gap < 0:
            self._offset -= gap
            gap = 0
        position = self._end + gap
        if position + len(frame.samples) > MAX_SAMPLES:
            self.drops["file full"] += 1
            return
        self.samples_silent += max(gap, 0)
        self._end = max(self._end, position + len(frame.samples))
        self._pending.append((position, frame.samples))
        self._pending_samples += len(frame.samples)

    async def _flush(self) -> None:
        """Write what has been gathered; nothing else of this node runs meanwhile."""
        if self._pending and self._file is not None:
            blocks, self._pending = self._pending, []
            self._pending_samples = 0
            await trio.to_thread.run_sync(self._file.write, blocks)
