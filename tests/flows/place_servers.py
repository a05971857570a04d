"""Servers in processes of their own, for tests: found, asked, and ended for certain."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from eventgraph.flows.place.directory import RuntimeDirectory
from tests.flows.leftovers import children, ended, processes_about
from tests.flows.place_program import REALM

PROJECT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 60.0  # seconds; starting takes its time on a busy machine


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where runtime directories can be; no process that was given it may be left at the end."""
    base = tmp_path / "run"
    base.mkdir()
    monkeypatch.chdir(PROJECT)
    before = children()
    yield base
    left = processes_about(str(base))
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left
    assert set(children()) <= set(before)


@pytest.fixture
def directory(base: Path) -> RuntimeDirectory:
    """That of the servers."""
    return RuntimeDirectory(base, REALM)


def command(base: Path, *behaviours: str) -> list[str]:
    """What starts a server that detaches."""
    return [sys.executable, "-m", "tests.flows.place_program", "--detach", str(base), *behaviours]


@contextmanager
def foreground_server(base: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that serves, as a child; killed at the end."""
    program = [argument for argument in command(base) if argument != "--detach"]
    with subprocess.Popen(program, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"serving now\n"
            yield process
        finally:
            process.kill()


async def serving_pid(directory: RuntimeDirectory) -> int:
    """Wait for a server that answers: what it says its process id is."""
    with trio.fail_after(PATIENCE):
        while (connection := directory.connect()) is None:  # noqa: ASYNC110  # a path tells nothing
            await trio.sleep(0.01)
        with trio.socket.from_stdlib_socket(connection) as client:
            return int(await client.recv(32))


async def end_server(base: Path, directory: RuntimeDirectory) -> None:
    """Have it leave in order; nothing may be left."""
    pid = directory.server_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert await trio.to_thread.run_sync(ended, str(base))
    assert os.listdir(base) == []
