"""Where the server of a realm lives on one machine, and where its clients find it.

In ``BASE/sf_<application>/sf_<user>/`` are ``pid``, locked by the server for as long as it lives,
``socket``, on which it listens, and ``log``. Nobody else can enter (mode 0700).

What is stale after ``kill -9`` is no hindrance: connecting is refused, the lock is free, and who
takes it replaces the rest.
"""

import fcntl
import os
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from eventgraph.flows.errors import FlowDirectoryError, FlowServerError
from eventgraph.flows.key import Realm, check_name
from eventgraph.flows.place.lock import ServerLock, holds_lock, written_pid
from eventgraph.flows.place.owned_path import MAX_ATTEMPTS, OwnedPath
from eventgraph.flows.place.peer import peer_pid
from eventgraph.flows.place.place import SOCKET, Place, address


class RuntimeDirectory:
    """That of one realm on one machine."""

    def __init__(self, base: Path | None, realm: Realm, machine: str | None = None) -> None:
        """Nothing is touched yet.

        Args:
            base: a directory that is there. None: ``$XDG_RUNTIME_DIR`` if that is one of ours,
                else ``eventgraph-<uid>`` in the system's temporary directory.
            realm: whose server it is.
            machine: if it is not the host's name, it gets a place of its own.
        Raises:
            FlowNameError: the machine's name cannot be one.
        """
        own = [f"sf_{realm.application}", _last_name(realm.user, machine)]
        if base is not None:
            self._owned = OwnedPath(base.absolute(), own)
        elif (runtime := _session_directory()) is not None:
            self._owned = OwnedPath(runtime, own)
        else:
            temporary = Path(tempfile.gettempdir()).absolute()
            self._owned = OwnedPath(temporary, [f"eventgraph-{os.geteuid()}", *own])

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return self._owned.path

    def prepare(self) -> None:
        """Make the directories.

        Raises:
            FlowDirectoryError: one cannot be made, or is not ours alone.
        """
        os.close(self._owned.make())

    @contextmanager
    def starting(self) -> Iterator[bool]:
        """Keep others from starting a server as well. False: somebody is at it already.

        After a server has died all its clients want another; each start costs a process.

        Raises:
            FlowDirectoryError: there is no place for a server.
            FileNotFoundError: the directory was removed in between: try again.
        """
        directory = self._owned.make()
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            descriptor = os.open(".", flags, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def occupy(self) -> Place | None:
        """Become the server. None: another process is, or another part of this one.

        Raises:
            FlowDirectoryError: there is no place for a server.
        """
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._try_to_occupy()
            except FileNotFoundError:  # one that leaves removes the directories
                continue
        raise FlowDirectoryError(f"{self.path} is removed again and again by somebody")

    def _try_to_occupy(self) -> Place | None:
        directory = self._owned.make()
        with ExitStack() as undo:
            undo.callback(os.close, directory)
            lock = ServerLock.take(directory, self.path)
            if lock is None:
                return None
            undo.pop_all()
        return Place(self.path, directory, lock)

    def connect(self) -> socket.socket | None:
        """Connect to the server; never blocks. None: there is none.

        That it is connected does not mean that the server answers, or is not at its end.

        Returns:
            the socket (SOCK_SEQPACKET, non-blocking), with a process of ours at its other end.
        Raises:
            BlockingIOError: there is one, and it has not accepted clients for long.
            FlowDirectoryError: the directory or what is in it is not ours alone.
        """
        directory = self._owned.open()
        if directory is None:
            return None
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        with ExitStack() as undo:
            undo.callback(os.close, directory)
            connection = undo.enter_context(socket.socket(socket.AF_UNIX, kind))
            try:
                connection.connect(address(directory))
                peer_pid(connection)
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            except BlockingIOError:
                raise
            except OSError as error:
                raise FlowDirectoryError(
                    f"cannot connect to {self.path / SOCKET}: {error.strerror}; remove it"
                ) from None
            undo.pop_all()
        os.close(directory)
        return connection

    def server_pid(self) -> int | None:
        """The process that serves. None: none does.

        Raises:
            FlowDirectoryError: the directory is not ours alone.
        """
        directory = self._owned.open()
        if directory is None:
            return None
        try:
            pid = written_pid(directory)
            return pid if pid is not None and holds_lock(pid, directory) else None
        finally:
            os.close(directory)

    async def kill_server(self, pid: int, timeout: float = 5.0) -> bool:
        """End a server that does not answer. What it leaves is for the next to replace.

        Args:
            pid: of the process that did not answer; no other is touched.
            timeout: seconds to wait until it is gone.
        Returns:
            whether that was done; False: it does not serve here, or does not any longer.
        Raises:
            FlowDirectoryError: the directory is not ours alone.
            FlowServerError: it is this process itself, or does not end.
        """
        if pid == os.getpid():
            raise FlowServerError("the server that does not answer is in this process")
        try:
            process = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return False
        try:
            # In this order: if the number has passed to another process in between, then the
            # signal goes to the one that is gone.
            if self.server_pid() != pid:
                return False
            signal.pidfd_send_signal(process, signal.SIGKILL)
            with trio.move_on_after(timeout):
                await trio.lowlevel.wait_readable(process)
                return True
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise FlowServerError(f"cannot end the server, process {pid}: {error}") from None
        finally:
            os.close(process)
        raise FlowServerError(f"the server, process {pid}, did not end in {timeout} s")


def _last_name(user: str, machine: str | None) -> str:
    if machine is None or machine == socket.gethostname():
        return f"sf_{_doubled(user)}"
    return f"sf_{_doubled(user)}@{check_name('machine', machine)}"


def _doubled(user: str) -> str:
    """A user ``a@b`` is not the user ``a`` of machine ``b``."""
    return user.replace("@", "@@")


def _session_directory() -> Path | None:
    path = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if not path.is_absolute():
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return path if ours and stat.S_ISDIR(status.st_mode) else None
