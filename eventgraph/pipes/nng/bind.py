"""Listening sockets of the kernel."""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.url import Url

BACKLOG = 128  # connections that wait to be accepted
LOOPBACK = "127.0.0.1"


def abstract_name(inproc_name: str) -> str:
    """The Linux abstract socket that an inproc URL of this process is carried by."""
    return f"eventgraph-{os.getpid()}-{blake2b(inproc_name.encode(), digest_size=16).hexdigest()}"


def check_own_process(connected: socket.socket) -> None:
    """Whether the other end of an inproc URL's socket is in this process.

    Raises:
        PermissionError: it is another's; such a name can be dialled and taken by anybody.
    """
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    if int.from_bytes(credentials[:4], sys.byteorder) != os.getpid():
        raise PermissionError("another process is at the other end of an inproc URL")


class Listening:
    """A non-blocking socket that listens, and its URL with the port that it got.

    Raises:
        TransportError: the address is in use (``in_use``), or not ours.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        self._file: tuple[Path, int] | None = None
        try:
            if url.scheme == "ipc":
                self.socket = self._on_path(Path(url.path))
            elif url.scheme == "inproc":
                self.socket = _bind(socket.AF_UNIX, "\0" + abstract_name(url.path))
            else:
                self.socket = self._on_port(url)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            raise TransportError(f"{url}: {error.strerror}", in_use=in_use) from error

    def close(self) -> None:
        """Listen no more, and take the socket's file away."""
        self.socket.close()
        if self._file is not None:
            path, inode = self._file
            if _inode(path) == inode:
                path.unlink(missing_ok=True)

    def _on_port(self, url: Url) -> socket.socket:
        host = {"*": "0.0.0.0", "localhost": LOOPBACK}.get(url.host, url.bare_host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = _bind(family, (host, url.port))
        self.url = msgspec.structs.replace(url, port=bound.getsockname()[1])
        return bound

    def _on_path(self, path: Path) -> socket.socket:
        with _locked(path.parent):
            try:
                bound = _bind(socket.AF_UNIX, str(path))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not _is_stale(path):
                    raise
                path.unlink(missing_ok=True)
                bound = _bind(socket.AF_UNIX, str(path))
            inode = _inode(path)
            assert inode is not None
            self._file = path, inode
            return bound


def _bind(family: socket.AddressFamily, address: str | tuple[str, int]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else takes over a stale socket there meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "another process is listening there now") from None
        yield
    finally:
        os.close(descriptor)


def _is_stale(path: Path) -> bool:
    """Whether it is a socket whose process is dead."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return path.is_socket() and probe.connect_ex(str(path)) == errno.ECONNREFUSED


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None
