"""The place of a realm's server on one machine, as long as this process has it."""

import os
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from eventgraph.flows.errors import FlowDirectoryError
from eventgraph.flows.place.lock import PID, ServerLock
from eventgraph.flows.place.log import Log
from eventgraph.pipes.embedded.inheritance import keep_from_children

SOCKET: Final = "socket"
BACKLOG: Final = 128
"""Clients that wait to be accepted: all of a machine's, after a server has died."""


class Place:
    """The right to serve, and the socket on which the clients come.

    Attributes:
        path: of the directory.
        listener: listens (SOCK_SEQPACKET, non-blocking); belongs to the place.
        log: where stdout and stderr can go; see `Log.take_over`.
    """

    def __init__(self, path: Path, directory: int, lock: ServerLock) -> None:
        """The place takes the directory's descriptor and the lock over, also if this raises.

        Raises:
            FileNotFoundError: the directory was removed in between.
            FlowDirectoryError: one cannot listen there.
        """
        self.path = path
        self._directory = directory
        self._lock = lock
        with ExitStack() as undo:
            undo.callback(os.close, directory)
            undo.callback(lock.release)
            self.listener = _listen(directory, path)
            undo.callback(self.listener.close)
            self._socket = os.stat(SOCKET, dir_fd=directory, follow_symlinks=False)
            undo.pop_all()
        self.log = Log(directory, path)
        keep_from_children(self.listener)

    def is_ours(self) -> bool:
        """Whether who takes the path comes to us still. A file may have been removed.

        Its inode tells: it is in use as long as the lock and the listener are open, so that no
        other file can get the same.
        """
        try:
            directory = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return self._lock.is_in(directory) and self._has_socket(directory)
        finally:
            os.close(directory)

    def close(self, *, keep_log: bool = False) -> None:
        """Remove what is ours, and let another serve. Idempotent; never raises an OSError.

        Args:
            keep_log: the last words are to be read.
        """
        if self._directory < 0:
            return
        with suppress(OSError, FlowDirectoryError):  # who serves next replaces what is stale
            self._remove_files(keep_log)
        self.listener.close()
        self.log.close()
        os.close(self._directory)
        self._directory = -1
        self._lock.release()
        with suppress(OSError):  # rmdir(2) takes neither what is in use nor a link
            self.path.rmdir()
            self.path.parent.rmdir()

    def _remove_files(self, keep_log: bool) -> None:
        lock: ServerLock | None = self._lock
        if not self._lock.is_in(self._directory):  # somebody has removed pid
            lock = ServerLock.take(self._directory, self.path)
        if lock is None:
            return  # and another serves there
        if self._has_socket(self._directory):
            os.unlink(SOCKET, dir_fd=self._directory)
        if not keep_log:
            self.log.remove()
        os.unlink(PID, dir_fd=self._directory)
        lock.release()

    def _has_socket(self, directory: int) -> bool:
        try:
            status = os.stat(SOCKET, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(status, self._socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the log stays after a crash."""
        self.close(keep_log=isinstance(error, Exception))


def address(directory: int) -> str:
    """Of the socket in an open directory: short, whatever the path, and nobody can swap it."""
    return f"/proc/self/fd/{directory}/{SOCKET}"


def _listen(directory: int, path: Path) -> socket.socket:
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)  # what bind gives to the file
        listener.bind(address(directory))
        listener.listen(BACKLOG)
    except FileNotFoundError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise FlowDirectoryError(f"cannot listen on {path / SOCKET}: {error.strerror}") from None
    return listener
