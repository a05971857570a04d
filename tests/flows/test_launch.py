"""Starting servers that detach: when they are ready, fail, hang, and who survives whom."""

import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from eventgraph.flows.errors import FlowServerError
from eventgraph.flows.place import launch
from eventgraph.flows.place.daemon import detach
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.launch import start_server
from eventgraph.flows.place.log import MAX_SIZE, open_memory
from tests.flows.connected import until
from tests.flows.leftovers import children, ended, processes_about
from tests.flows.place_servers import (
    PATIENCE,
    base,
    command,
    directory,
    end_server,
    foreground_server,
    serving_pid,
)

__all__ = ["base", "directory"]  # fixtures


# A server that becomes ready


async def test_server_serves_when_its_start_is_done(
    base: Path, directory: RuntimeDirectory
) -> None:
    await start_server(command(base))
    client = directory.connect()
    assert client is not None
    with client:
        pid = await serving_pid(directory)
    assert pid == directory.server_pid()
    assert processes_about(str(base)) == [pid]
    assert pid not in children()
    assert os.getsid(pid) == os.getpgid(pid) == pid
    await end_server(base, directory)


def descriptors(pid: int | None) -> dict[int, str]:
    """What a process has open, by number; one that is closed meanwhile is left out."""
    opened = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            opened[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return opened


async def test_server_has_nothing_of_ours(base: Path, directory: RuntimeDirectory) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    try:
        await start_server(command(base))
        pid = directory.server_pid()
        log = str(directory.path / "log")
        assert os.readlink(f"/proc/self/fd/{theirs}") not in descriptors(pid).values()
        # The pipe that it reported on is closed a moment later.
        await until(lambda: not any("pipe:" in target for target in descriptors(pid).values()))
        opened = descriptors(pid)
        assert [opened.pop(number) for number in range(3)] == ["/dev/null", log, log]
        files = {target for target in opened.values() if not target.startswith("socket:")}
        assert files == {str(directory.path), log, str(directory.path / "pid")}
        assert len(opened) - len(files) <= 2  # the listener; and it looks whether all is there
        await end_server(base, directory)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_what_it_writes_goes_to_the_log(base: Path, directory: RuntimeDirectory) -> None:
    await start_server(command(base, "say"))
    log = directory.path / "log"
    assert stat.S_IMODE(log.lstat().st_mode) == 0o600
    with trio.fail_after(PATIENCE):
        while log.read_text() != "before it is ready\nserving now\n":  # noqa: ASYNC110
            await trio.sleep(0.01)
    await end_server(base, directory)


async def test_log_is_bounded(base: Path, directory: RuntimeDirectory) -> None:
    await start_server(command(base, "fill-log"))
    sizes: list[int] = []
    with trio.fail_after(PATIENCE):
        while not any(after < before for before, after in pairwise(sizes)):
            sizes.append((directory.path / "log").stat().st_size)
            await trio.sleep(0.01)
    assert MAX_SIZE / 2 < max(sizes) < 2 * MAX_SIZE
    await end_server(base, directory)


async def test_log_of_a_server_that_crashed_stays(base: Path, directory: RuntimeDirectory) -> None:
    await start_server(command(base, "crash-later"))
    assert await trio.to_thread.run_sync(ended, str(base))
    assert os.listdir(directory.path) == ["log"]
    lines = (directory.path / "log").read_text().splitlines()
    assert lines[0] == "serving now"
    assert lines[-1] == "ValueError: no such luck"
    await start_server(command(base))
    assert (directory.path / "log").read_text().splitlines()[: len(lines)] == lines
    await end_server(base, directory)


async def test_second_server_yields(base: Path, directory: RuntimeDirectory) -> None:
    await start_server(command(base))
    pid = await serving_pid(directory)
    await start_server(command(base))
    assert processes_about(str(base)) == [pid] == [await serving_pid(directory)]
    await end_server(base, directory)


async def test_twenty_starts_at_once_make_one_server(
    base: Path, directory: RuntimeDirectory
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(start_server, command(base), 2 * PATIENCE)
    assert processes_about(str(base)) == [await serving_pid(directory)]
    await end_server(base, directory)


async def test_killed_server_is_replaced_by_the_next_start(
    base: Path, directory: RuntimeDirectory
) -> None:
    pids = set()
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        await start_server(command(base))
        pids.add(pid := await serving_pid(directory))
        os.kill(pid, number)
        if number is signal.SIGSTOP:
            assert await directory.kill_server(pid)
        assert await trio.to_thread.run_sync(ended, str(base))
    assert len(pids) == 3
    assert os.listdir(base) == []


# A server that does not


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("crash", r"ValueError: no such luck\n.* before it was ready, with exit status 1$"),
        ("die", "the server ended before it was ready, by signal 9$"),
        ("leave", "the server ended before it was ready, with exit status 0$"),
    ],
)
async def test_server_that_ends_before_it_is_ready(
    behaviour: str, message: str, base: Path
) -> None:
    with pytest.raises(FlowServerError, match=r"failed; it wrote:\n(?s:.*)" + message):
        await start_server(command(base, behaviour))
    assert processes_about(str(base)) == []
    assert os.listdir(base) == []


async def test_server_that_finds_no_place_says_why(base: Path, directory: RuntimeDirectory) -> None:
    directory.prepare()
    directory.path.chmod(0o750)
    with pytest.raises(FlowServerError, match=r"it wrote:\n.* open to others \(mode 750\)"):
        await start_server(command(base))
    assert processes_about(str(base)) == []


@pytest.mark.parametrize("behaviour", ["hang", "hang-deaf", "hang-with-child"])
async def test_server_that_is_not_ready_in_time_is_ended(
    behaviour: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "GRACE", 0.5)
    sleepers = len(processes_about("sleep\0600"))
    with pytest.raises(FlowServerError, match=r"was not ready within 3 s; it wrote"):
        await start_server(command(base, behaviour), 3)
    assert processes_about(str(base)) == []
    assert len(processes_about("sleep\0600")) == sleepers


async def test_start_that_is_cancelled_ends_the_server(base: Path) -> None:
    with trio.move_on_after(3) as scope:
        await start_server(command(base, "hang"))
    assert scope.cancelled_caught
    assert processes_about(str(base)) == []


@pytest.mark.parametrize("program", [["yes"], ["chatter"]])
async def test_what_is_written_before_it_is_ready_is_bounded(
    program: list[str], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = []

    def open_and_tell() -> int:
        memories.append(os.dup(memory := open_memory()))
        return memory

    monkeypatch.setattr(launch, "open_memory", open_and_tell)
    with pytest.raises(FlowServerError, match=r"failed; it wrote:\n.") as caught:
        await start_server(command(base, *program) if program != ["yes"] else program)
    assert len(str(caught.value)) < 3000
    (memory,) = memories
    assert os.fstat(memory).st_size == os.lseek(memory, 0, os.SEEK_CUR) == MAX_SIZE
    os.close(memory)
    assert processes_about(str(base)) == []


async def test_program_that_hangs_before_it_detaches_is_ended(base: Path) -> None:
    program = [sys.executable, "-c", "import time; time.sleep(600)", str(base)]
    with pytest.raises(FlowServerError, match=r"was not ready within 1 s; it wrote nothing$"):
        await start_server(program, 1)
    assert processes_about(str(base)) == []


@pytest.mark.parametrize(
    "program", [["/nowhere/server"], ["/etc/passwd"], ["/tmp"], ["with\0null"]]
)
async def test_program_that_cannot_be_started(program: list[str]) -> None:
    with pytest.raises(FlowServerError, match="cannot start"):
        await start_server(program)


async def test_nothing_stays_open(base: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for behaviour in ("crash", "hang"):
        with pytest.raises(FlowServerError):
            await start_server(command(base, behaviour), 2)
    with pytest.raises(FlowServerError):
        await start_server(["/nowhere/server"])
    assert sorted(os.listdir("/proc/self/fd")) == before


# Who survives whom


@contextmanager
def starter(base: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has started a server."""
    program = [sys.executable, "-m", "tests.flows.starter", "1", *command(base)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, start_new_session=True, **options
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
async def test_server_survives_the_group_of_its_starter(
    number: signal.Signals, base: Path, directory: RuntimeDirectory
) -> None:
    with starter(base) as process:
        pid = await serving_pid(directory)
        os.killpg(process.pid, number)
        process.wait()
    assert await serving_pid(directory) == pid
    await end_server(base, directory)


async def test_server_survives_the_terminal(base: Path, directory: RuntimeDirectory) -> None:
    ours, theirs = pty.openpty()
    with starter(base, stdin=theirs) as process:
        os.close(theirs)
        pid = await serving_pid(directory)
        os.close(ours)
        assert process.wait() == -signal.SIGHUP
    assert await serving_pid(directory) == pid
    await end_server(base, directory)


async def test_starter_that_is_killed_in_mid_start_leaves_a_server_that_works(
    base: Path, directory: RuntimeDirectory
) -> None:
    program = [sys.executable, "-m", "tests.flows.starter", "1", *command(base, "wait")]
    with subprocess.Popen(program, start_new_session=True) as process:  # noqa: ASYNC220
        with trio.fail_after(PATIENCE):
            while len(processes_about(str(base))) < 3:  # noqa: ASYNC110  # it, and two of the server
                await trio.sleep(0.01)
        process.kill()
    (base.parent / "go").touch()
    pid = await serving_pid(directory)
    with trio.fail_after(PATIENCE):
        while processes_about(str(base)) != [pid]:  # noqa: ASYNC110  # who waited for it ends
            await trio.sleep(0.01)
    await end_server(base, directory)


# From a shell


def test_who_waits_for_the_server_passes_sigterm_on(base: Path) -> None:
    with subprocess.Popen(command(base, "say", "hang"), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"before it is ready\n"
        process.terminate()
        assert process.wait(PATIENCE) == 1
        assert b"before it was ready" in process.stderr.read()
    assert processes_about(str(base)) == []


def test_server_that_is_not_ready_within_its_own_limit_is_ended(base: Path) -> None:
    done = subprocess.run(
        command(base, "impatient", "hang-deaf"), capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert done.stderr == b"the server was not ready within 1 s, and has been ended\n"
    assert processes_about(str(base)) == []


def test_program_with_threads_cannot_detach(base: Path) -> None:
    done = subprocess.run(command(base, "thread"), capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert b"RuntimeError: detach before any thread is started" in done.stderr
    assert os.listdir(base) == []


def test_nothing_is_forked_where_there_are_threads() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="before any thread"):
            detach()
    finally:
        release.set()
        thread.join()


async def test_server_in_the_foreground_keeps_its_output(
    base: Path, directory: RuntimeDirectory
) -> None:
    with foreground_server(base) as server:  # it has read "serving now" from stdout
        assert await serving_pid(directory) == server.pid
        assert os.getsid(server.pid) == os.getsid(0)
        assert sorted(os.listdir(directory.path)) == ["pid", "socket"]
        server.terminate()
        assert server.wait() == 0
    assert os.listdir(base) == []
