"""The embedded registry's socket: dialling it, and the right to listen on it.

Who serves holds a lock on ``PATH.lock`` (flock(2): the kernel frees it whenever and however
the process ends). Only under that lock is PATH touched: it is bound beside it and renamed, so
that whoever sees a socket there can connect; a stale one is simply replaced.

The lock file is removed with the socket. That is safe because who got a lock looks whether
it is on the file that has the name now, and otherwise has got nothing.
"""

import fcntl
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

import trio

from eventgraph.pipes.embedded.inheritance import keep_from_children
from eventgraph.pipes.errors import PipeOptionError

BACKLOG: Final = 128
"""Clients that wait to be accepted: all of a machine's, after the server has died."""


def dial(path: Path) -> trio.SocketStream | None:
    """Connect; never blocks. None: nobody listens there.

    Raises:
        BlockingIOError: too many wait there already.
        PipeOptionError: that is no socket, or not one of ours.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(os.fspath(path))
        _check_peer(connection, path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        _check_socket(path)
        return None
    except BlockingIOError:
        connection.close()
        raise
    except OSError as error:
        connection.close()
        raise PipeOptionError(f"cannot connect to {path}: {error}") from None
    except PipeOptionError:
        connection.close()
        raise
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    keep_from_children(stream.socket)
    return stream


class Claim:
    """The right to serve at a path."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock_path = _lock_path(path)
        self._lock = lock
        self._socket: trio.socket.SocketType | None = None
        self._stamp: tuple[int, int, int] | None = None  # of the socket's file
        keep_from_children(self)

    @classmethod
    def take(cls, path: Path) -> "Claim | None":
        """None: another has it, also in the same process.

        Raises:
            PipeOptionError: the lock file cannot be made or opened.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            lock = os.open(_lock_path(path), flags, 0o600)
        except OSError as error:
            raise PipeOptionError(f"cannot serve a registry at {path}: {error}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if not _is_at(lock, _lock_path(path)):
            os.close(lock)
            return None
        return cls(path, lock)

    def listen(self) -> trio.SocketListener:
        """Put the socket in its place. Only its owner can connect.

        Raises:
            PipeOptionError: it cannot be made.
        """
        new = _beside(self._path, ".new")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            new.unlink(missing_ok=True)
            listener.bind(os.fspath(new))
            new.chmod(0o600)
            listener.listen(BACKLOG)
            new.rename(self._path)
            self._stamp = _stamp(self._path)
        except OSError as error:
            listener.close()
            raise PipeOptionError(f"cannot serve a registry at {self._path}: {error}") from None
        self._socket = trio.socket.from_stdlib_socket(listener)
        keep_from_children(self._socket)
        return trio.SocketListener(self._socket)

    def stands(self) -> bool:
        """Whether the path still leads to us; somebody may have removed the file."""
        return _stamp(self._path) == self._stamp

    def release(self) -> None:
        """Remove what is ours, and let another serve. Idempotent."""
        if self._lock < 0:
            return
        if _is_at(self._lock, self._lock_path):
            if self._stamp is not None and self.stands():
                self._path.unlink()
            self._lock_path.unlink()
        if self._socket is not None:
            self._socket.close()
        os.close(self.detach())

    def detach(self) -> int:
        """Give up the lock's descriptor without closing it."""
        lock, self._lock = self._lock, -1
        return lock


def _check_peer(connection: socket.socket, path: Path) -> None:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    user = struct.unpack("3i", credentials)[1]  # pid, uid, gid
    if user not in (os.geteuid(), 0):
        raise PipeOptionError(f"the registry at {path} is that of user {user}: use another path")


def _check_socket(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise PipeOptionError(f"{path} is no socket: use another path")


def _lock_path(path: Path) -> Path:
    return _beside(path, ".lock")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file has that name still."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Tells a file from one that has its name, and maybe its inode's number, later."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns
