"""WavFile: a WAV file that plays at every moment while it is written.

     0  "RIFF"  size of what follows   "WAVE"
    12  "fmt "  16   PCM=1  channels=1  rate  octets/s  octets/frame=2  bits=16
    36  "data"  size of what follows   samples ...

The standard library's `wave` patches the sizes when it is closed: who is killed leaves a
header that says 0, and players believe it. Here the header is written anew after each block
of samples, in one call, so it never promises more than there is.

Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991).
"""

import os
import struct
from pathlib import Path
from typing import Final

from ..media import Samples

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_SAMPLE = 2
"""Octets."""
MAX_SAMPLES: Final = (2**32 - 1 - _HEADER.size) // _SAMPLE
"""Sizes have 32 bits: 74 hours at 8 kHz."""


class WavFile:
    """Mono, 16 bits. Every call may block on the disk, and raises OSError if it fails."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Create the file, or replace it; it plays at once, with no sound.

        Args:
            sample_rate: Hz.
        """
        self._sample_rate = sample_rate
        self._length = 0
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666
        )
        self._write_header()

    def write(self, blocks: list[tuple[int, Samples]]) -> None:
        """Put blocks of samples where they belong.

        Args:
            blocks: (number of the first sample, samples of int16). What was never written
                in between is silence: the file system gives zeros, and stores none.
        """
        for position, samples in blocks:
            data = samples.astype("<i2", copy=False).tobytes()
            offset = _HEADER.size + _SAMPLE * position
            while data:
                written = os.pwrite(self._descriptor, data, offset)
                data, offset = data[written:], offset + written
            self._length = max(self._length, position + len(samples))
        self._write_header()

    def close(self) -> None:
        """The header is true already."""
        os.close(self._descriptor)

    def _write_header(self) -> None:
        size = _SAMPLE * self._length
        rate = self._sample_rate
        header = _HEADER.pack(
            b"RIFF", _HEADER.size - 8 + size, b"WAVE",
            b"fmt ", 16, 1, 1, rate, _SAMPLE * rate, _SAMPLE, 8 * _SAMPLE,
            b"data", size,
        )  # fmt: skip
        os.pwrite(self._descriptor, header, 0)
