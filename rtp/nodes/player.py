"""Player: a file becomes sound, paced by absolute deadlines."""

from collections import Counter, deque
from pathlib import Path
from typing import Final

import trio

from eventgraph import Event, NodeDelegate

from ..audio.media_file import MediaFile
from ..media import END, PCM, AudioFrame, EndOfStream, EndReason, Samples
from .paced import PacedNode

_READ_AHEAD: Final = 0.5
"""Seconds of sound that are read in one go, while the next frame is not due yet."""


class Player(PacedNode):
    """Broadcasts the sound of a file as mono PCM frames, and END at its end.

    It reads whatever FFmpeg does, and resamples. Each frame goes out at the time at which its
    sound begins; one that is late goes at once, and the next ones catch up. After a stall of more
    than `resync_after` seconds it goes on where it was: no sound is left out, and timestamps jump
    over the time that has gone by. Files are read in a thread.

    A file that cannot be read, or has no sound, crashes the node as it enters.

    Attributes:
        finished: whether END was sent.
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
        super().__init__(
            scope,
            name,
            sample_rate=sample_rate,
            frame_duration=frame_duration,
            resync_after=resync_after,
        )
        self.path = Path(path)
        self.finished = False
        self._loop = loop
        self._read_ahead = max(2, round(_READ_AHEAD / frame_duration))
        self._file: MediaFile | None = None
        self._frames: deque[Samples] = deque()
        self._complete = False  # everything has been read

    @property
    def drops(self) -> Counter[str]:
        """Packets of the file that were not played, by reason: "undecodable"."""
        return Counter() if self._file is None else Counter(self._file.drops)

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._file = await trio.to_thread.run_sync(self._open)
        await self._read()
        await super().on_enter(delegate)

    def on_exit(self) -> None:
        if self._file is not None:
            self._file.close()

    async def on_frame(self) -> None:
        if not self._frames:
            self.finished = True
            self.paced = False
            self._delegate.broadcast(Event(END, EndOfStream(EndReason.CLOSED)))
            return
        frame = AudioFrame(self._frames.popleft(), self.sample_rate, self.first_sample)
        self._delegate.broadcast(Event(PCM, frame))
        if len(self._frames) < self._read_ahead // 2:
            await self._read()

    def _open(self) -> MediaFile:
        return MediaFile(self.path, self.sample_rate, self.frame_samples, loop=self._loop)

    async def _read(self) -> None:
        if self._complete or self._file is None:
            return
        frames = await trio.to_thread.run_sync(self._file.read, self._read_ahead)
        self._complete = len(frames) < self._read_ahead
        self._frames.extend(frames)
