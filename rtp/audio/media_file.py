"""MediaFile: the sound of a file that FFmpeg can read, as mono pieces of equal length.

Everything here blocks: it belongs into a worker thread, one call at a time.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from ..errors import RtpError
from ..media import Samples
from .resampling import join_frames
from .sample_queue import SampleQueue


class MediaFileError(RtpError):
    """A file has nothing to play."""


class MediaFile:
    """Reads a file from its beginning, once or for ever.

    Attributes:
        drops: packets that were not decoded, by reason: "undecodable".
    """

    def __init__(self, path: Path, sample_rate: int, piece_samples: int, *, loop: bool) -> None:
        """
        Args:
            path: of a file. It is opened here and not by FFmpeg, and may not name others
                (playlists do): whoever chose the file chose no more than that.
            sample_rate: Hz of what comes out.
            piece_samples: samples in a piece.
            loop: go on from the beginning at the end, without a gap.
        Raises:
            OSError: the file cannot be read.
            MediaFileError: it has no sound.
        """
        self.drops: Counter[str] = Counter()
        self._path = path
        self._sample_rate = sample_rate
        self._piece_samples = piece_samples
        self._loop = loop
        self._queue = SampleQueue()
        self._sound: Iterator[Samples] | None = None
        self._open()

    def read(self, count: int) -> list[Samples]:
        """The next pieces: fewer than `count` at the end; the last one is filled with silence."""
        pieces: list[Samples] = []
        while len(pieces) < count:
            if not self._fill():
                rest = self._queue.take(self._piece_samples)
                if len(rest):
                    silence = np.zeros(self._piece_samples - len(rest), np.int16)
                    pieces.append(np.concatenate((rest, silence)))
                break
            pieces.append(self._queue.take(self._piece_samples))
        return pieces

    def close(self) -> None:
        """Close the file; there is no more to read."""
        self._sound = None
        self._container.close()
        self._file.close()

    def _open(self) -> None:
        self._file = self._path.open("rb")
        try:
            self._container = av.open(self._file, "r", options={"protocol_whitelist": "none"})
            if not self._container.streams.audio:
                raise MediaFileError(f"{self._path} has no sound: choose a file with audio")
        except av.FFmpegError as error:
            self._file.close()
            raise MediaFileError(f"{self._path} cannot be played: {error}") from error
        except BaseException:
            self._file.close()
            raise
        self._sound = self._decode()

    def _fill(self) -> bool:
        """Have a whole piece in the queue; whether there is one."""
        heard = True
        while len(self._queue) < self._piece_samples and self._sound is not None:
            samples = next(self._sound, None)
            if samples is not None:
                heard = heard or len(samples) > 0
                self._queue.put(samples)
            elif self._loop and heard:
                heard = False  # in this turn so far: a file without sound is not turned for ever
                self.close()
                self._open()
            else:
                self.close()
        return len(self._queue) >= self._piece_samples

    def _decode(self) -> Iterator[Samples]:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=self._sample_rate)
        stream = self._container.streams.audio[0]
        for packet in self._container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.drops["undecodable"] += 1
                continue
            for frame in frames:
                assert isinstance(frame, av.AudioFrame)
                yield join_frames(resampler.resample(frame))
        yield join_frames(resampler.resample(None))
