"""The right to serve: a lock on the file ``pid``, which holds the process id of who has it.

The lock is flock(2)'s: the kernel frees it whenever and however the process ends. Only under it
is anything in the directory touched. The file is removed at the end; that is safe because who
got a lock looks whether it is on the file that has the name now, and otherwise has got nothing.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventgraph.flows.errors import FlowDirectoryError
from eventgraph.pipes.embedded.inheritance import keep_from_children

PID: Final = "pid"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class ServerLock:
    """Held by this process, not by those that it forks or starts."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        keep_from_children(self)

    @classmethod
    def take(cls, directory: int, path: Path) -> "ServerLock | None":
        """None: another has it, also in the same process.

        Args:
            directory: descriptor of where ``pid`` is to be.
            path: of the same directory, for messages.
        Raises:
            FileNotFoundError: the file or the directory was removed in between: try again.
            FlowDirectoryError: the file cannot be made or written.
        """
        try:
            descriptor = os.open(PID, _FLAGS, 0o600, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FlowDirectoryError(
                f"cannot use {path / PID}: {error.strerror}; remove it, and start again"
            ) from None
        lock = cls(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock._write(directory, path)
        except BlockingIOError:
            lock.release()
            return None
        except BaseException:
            lock.release()
            raise
        return lock

    def _write(self, directory: int, path: Path) -> None:
        if not self.is_in(directory):
            raise FileNotFoundError(path / PID)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise FlowDirectoryError(f"{path / PID} is no file: remove it")
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            raise FlowDirectoryError(f"cannot write {path / PID}: {error.strerror}") from None

    def is_in(self, directory: int) -> bool:
        """Whether the file in that directory is the one that is locked."""
        try:
            named = os.stat(PID, dir_fd=directory, follow_symlinks=False)
            return os.path.samestat(named, os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Let another serve. Idempotent."""
        if (descriptor := self.detach()) >= 0:
            os.close(descriptor)

    def detach(self) -> int:
        """Give up the descriptor without closing it; -1: there is none any longer."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor


def written_pid(directory: int) -> int | None:
    """The process that serves, or has served last. None: it says nothing."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(PID, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        return int(os.read(file, 32))
    except (OSError, ValueError):
        return None
    finally:
        os.close(file)


def holds_lock(pid: int, directory: int) -> bool:
    """Whether that process has the lock on ``pid``, as the kernel tells; see proc(5), fdinfo."""
    try:
        file = os.stat(PID, dir_fd=directory, follow_symlinks=False)
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        with suppress(OSError):  # it closes and opens as we look
            if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), file):
                continue
            if "FLOCK" in Path(f"/proc/{pid}/fdinfo/{number}").read_text():
                return True
    return False
