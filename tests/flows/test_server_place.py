"""The place of a server between processes: races, kill -9, SIGSTOP, and other users."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from eventgraph.flows.errors import FlowDirectoryError, FlowServerError
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.peer import peer_pid
from eventgraph.flows.place.place import BACKLOG
from tests.flows.place_servers import (
    PATIENCE,
    PROJECT,
    base,
    directory,
    foreground_server,
    serving_pid,
)

__all__ = ["base", "directory"]  # fixtures

GENERATIONS = 200


def test_never_two_serve_however_they_are_killed(base: Path, directory: RuntimeDirectory) -> None:
    program = [sys.executable, "-m", "tests.flows.place_race", str(base), str(GENERATIONS)]
    done = subprocess.run(program, cwd=PROJECT, capture_output=True, check=True, timeout=120)
    result = json.loads(done.stdout)
    _, generations, overlaps, lost, connected = result["numbers"]
    assert generations >= GENERATIONS
    assert (overlaps, lost, result["failed"]) == (0, 0, 0), done.stderr.decode()
    assert result["kills"] > GENERATIONS / 10
    assert connected > 0
    place = directory.occupy()
    assert place is not None
    place.close()
    assert os.listdir(base) == []


async def test_killed_server_is_gone_at_once_and_replaced(
    base: Path, directory: RuntimeDirectory
) -> None:
    with foreground_server(base) as server:
        assert await serving_pid(directory) == server.pid == directory.server_pid()
        assert directory.occupy() is None
        server.kill()
        server.wait()
        assert directory.connect() is None
        assert directory.server_pid() is None
        assert sorted(os.listdir(directory.path)) == ["pid", "socket"]
    with foreground_server(base) as server:
        assert await serving_pid(directory) == server.pid
        server.terminate()
        assert server.wait(PATIENCE) == 0
    assert os.listdir(base) == []


async def test_server_whose_directory_is_removed_ends(
    base: Path, directory: RuntimeDirectory
) -> None:
    with foreground_server(base) as server:
        shutil.rmtree(base / "sf_tests")
        assert server.wait(PATIENCE) == 0
    assert os.listdir(base) == []


async def test_stopped_server_blocks_nobody_and_is_killed(
    base: Path, directory: RuntimeDirectory
) -> None:
    with foreground_server(base) as server, ExitStack() as connections:
        server.send_signal(signal.SIGSTOP)
        await trio.to_thread.run_sync(os.waitid, os.P_PID, server.pid, os.WSTOPPED)
        waiting: list[socket.socket] = []
        began = time.monotonic()
        with pytest.raises(BlockingIOError):
            for _ in range(2 * BACKLOG):
                client = directory.connect()
                assert client is not None
                waiting.append(connections.enter_context(client))
        assert time.monotonic() - began < 5
        assert {peer_pid(client) for client in waiting} == {server.pid}
        assert directory.occupy() is None
        assert directory.server_pid() == server.pid
        assert await directory.kill_server(server.pid)
        assert directory.server_pid() is None
        place = directory.occupy()
        assert place is not None
        assert not await directory.kill_server(server.pid)
        assert server.wait(PATIENCE) == -signal.SIGKILL
        for client in waiting:
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        place.close()
    assert os.listdir(base) == []


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_only_the_server_itself_is_killed(base: Path, directory: RuntimeDirectory) -> None:
    with sleeper() as bystander:
        assert not await directory.kill_server(bystander.pid)  # there is no directory
        directory.prepare()
        (directory.path / "pid").write_text(f"{bystander.pid}\n")
        assert not await directory.kill_server(bystander.pid)  # it holds no lock
        with foreground_server(base) as server:
            assert not await directory.kill_server(bystander.pid)
            (directory.path / "pid").write_text(f"{bystander.pid}\n")
            assert not await directory.kill_server(bystander.pid)  # another holds it
            (directory.path / "pid").write_text(f"{server.pid}\n")
            for nobody in (0, -1, 2**22 + 1, 2**64):
                assert not await directory.kill_server(nobody)
            assert server.poll() is None
            assert await serving_pid(directory) == server.pid
            server.terminate()
            server.wait()
        assert bystander.poll() is None
    place = directory.occupy()
    assert place is not None
    with pytest.raises(FlowServerError, match="in this process"):
        await directory.kill_server(os.getpid())
    place.close()


async def test_server_that_does_not_end_is_not_waited_for_for_ever(
    base: Path,
    directory: RuntimeDirectory,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with foreground_server(base) as server:
        monkeypatch.setattr(signal, "SIGKILL", signal.SIGCONT)  # as if it hung in the kernel
        with pytest.raises(FlowServerError, match=rf"process {server.pid}, did not end in 5.0 s"):
            await directory.kill_server(server.pid)
        monkeypatch.undo()


# Other users; these need root


@contextmanager
def other_user(base: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """What another user has tried, and where they listen."""
    with tempfile.TemporaryDirectory() as open_directory:
        Path(open_directory).chmod(0o777)
        own = Path(open_directory) / "socket"
        program = [sys.executable, "-m", "tests.flows.other_user", str(base), str(own)]
        pipe = subprocess.PIPE
        with subprocess.Popen(program, cwd=PROJECT, stdin=pipe, stdout=pipe) as process:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline()), own


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def open_base() -> Iterator[Path]:
    """With nothing but our own directories in the way of others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@as_root
def test_other_user_cannot_reach_the_server(open_base: Path) -> None:
    with foreground_server(open_base) as server:
        with other_user(open_base) as (outcomes, _):
            pass
        server.terminate()
        server.wait()
    ours = {"connect", "occupy", "server_pid"}
    bare = {"bare connect", "list", "list applications", "read pid"}
    assert outcomes.keys() == ours | bare
    for attempt in ours:
        assert outcomes[attempt].startswith("FlowDirectoryError: "), outcomes
        assert "belongs to user 0: use another runtime directory" in outcomes[attempt]
    for attempt in bare:
        assert outcomes[attempt].startswith("PermissionError: "), outcomes
    assert os.listdir(open_base) == []


@as_root
async def test_server_of_another_user_is_refused(base: Path, directory: RuntimeDirectory) -> None:
    directory.prepare()
    with other_user(base) as (_, theirs):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(os.fspath(theirs))
            with pytest.raises(FlowDirectoryError, match="that of user 65534, not of 0"):
                peer_pid(client)
        (directory.path / "socket").symlink_to(theirs)
        with pytest.raises(FlowDirectoryError, match="that of user 65534, not of 0"):
            directory.connect()


def test_child_that_was_forked_does_not_keep_the_place(directory: RuntimeDirectory) -> None:
    place = directory.occupy()
    assert place is not None
    release, hold = os.pipe()
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold)
        os.close(begin)
        os.read(release, 1)
        os._exit(0)
    os.close(begin)
    os.read(begun, 1)
    try:
        place._lock.release()  # as if we were killed: nothing is removed
        place.listener.close()
        assert directory.connect() is None
        new = directory.occupy()
        assert new is not None
        place.close()
        assert new.is_ours()
        new.close()
    finally:
        os.close(hold)
        os.close(release)
        os.close(begun)
        os.waitpid(child, 0)
