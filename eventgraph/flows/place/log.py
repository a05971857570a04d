"""What a server writes to stdout and stderr: to its starter's memory, then to a file.

Runtime directories are memory themselves (tmpfs), so both are bounded. In the file, the older
part goes; appending (O_APPEND) makes that safe under the hands of whoever writes. The memory
just has an end: who writes that much before it is ready has failed.
"""

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventgraph.flows.errors import FlowDirectoryError

LOG: Final = "log"
MAX_SIZE: Final = 1 << 20  # bytes
KEPT_SIZE: Final = 1 << 18  # bytes of the latest that stay when there are more
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Log:
    """The file ``log`` of a runtime directory, for its server alone."""

    def __init__(self, directory: int, path: Path) -> None:
        """Nothing is there yet; the directory's descriptor must stay open."""
        self._directory = directory
        self._path = path / LOG
        self._file = -1

    def take_over(self) -> None:
        """Have stdout and stderr write there from now on; what a starter holds is copied.

        Raises:
            FlowDirectoryError: the file cannot be made.
        """
        try:
            self._file = os.open(LOG, _FLAGS, 0o600, dir_fd=self._directory)
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise FlowDirectoryError(f"{self._path} is no file: remove it")
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(self._file, written(2, KEPT_SIZE))
        except OSError as error:
            raise FlowDirectoryError(f"cannot write {self._path}: {error.strerror}") from None
        trim(self._file)
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)

    @property
    def path(self) -> Path | None:
        """The file; None: nothing is written there."""
        return self._path if self._file >= 0 else None

    def trim(self) -> None:
        """Keep it bounded; call this now and then."""
        if self._file >= 0:
            trim(self._file)

    def remove(self) -> None:
        """Remove the file, whoever has written it."""
        with suppress(FileNotFoundError):
            os.unlink(LOG, dir_fd=self._directory)

    def close(self) -> None:
        """Stdout and stderr write there still."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_memory() -> int:
    """A file without a name, to be somebody's stdout and stderr: its descriptor.

    Unlike a pipe it blocks nobody, and stays when we die. It takes `MAX_SIZE` bytes.
    """
    memory = os.memfd_create("flow-server-output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, MAX_SIZE)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return memory


def written(file: int, size: int) -> bytes:
    """The last lines that were written through a descriptor or its copies.

    At most so many bytes; nothing, if it cannot be read.
    """
    try:
        end = os.lseek(file, 0, os.SEEK_CUR)
        data = os.pread(file, min(end, size), max(0, end - size))
    except OSError:  # a terminal or a pipe, or open for writing only
        return b""
    return data if end <= size else data.partition(b"\n")[2] or data


def trim(file: int) -> None:
    """Cut off the older part, if it is too large."""
    if os.fstat(file).st_size > MAX_SIZE:
        os.lseek(file, 0, os.SEEK_END)
        latest = written(file, KEPT_SIZE)
        os.ftruncate(file, 0)
        os.write(file, latest)
