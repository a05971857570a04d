"""RecordingFile: a file as FFmpeg's muxers write it; what fails is kept."""

import os
from pathlib import Path

from ..errors import RtpError


class UnwritableError(RtpError):
    """A recording cannot be written; the message has the path and what the system says."""


class RecordingFile:
    """The file, as FFmpeg writes it. What fails is kept, for FFmpeg tells little of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UnwritableError(f"{path} cannot be written: {error.strerror}") from error
        self.closed = False

    def check(self) -> None:
        """Raise what a write has met."""
        if self.error is not None:
            raise UnwritableError(
                f"{self.path} cannot be written: {self.error.strerror}"
            ) from self.error

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest and self.error is None:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.error = error
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)
