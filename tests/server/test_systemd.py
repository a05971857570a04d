"""What systemd is told, by a socket that stands for its own."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from rtp.server.systemd import Notifier
from tests.server.serving import serving

LIMIT = 60.0
"""Seconds; these machines are shared."""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(LIMIT)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield bound


def test_server_says_when_it_is_up_alive_and_ending(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with serving(tmp_path) as server:
        told = [manager.recv(100) for _ in range(4)]
        assert set(told) == {b"READY=1", b"WATCHDOG=1"}
        assert server.end(signal.SIGTERM) == (0, "")
    while told[-1] != b"STOPPING=1":
        told.append(manager.recv(100))


def test_watchdog_of_another_process_is_not_ours(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    trio.run(Notifier.from_environment().watch)  # returns at once
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


async def test_beats_come_twice_in_the_time_of_the_watchdog(
    tmp_path: Path, manager: socket.socket, autojump_clock: trio.abc.Clock
) -> None:
    with trio.move_on_after(9.9):
        await Notifier(str(tmp_path / "notify"), 10.0).watch()
    assert [manager.recv(100), manager.recv(100)] == [b"WATCHDOG=1"] * 2
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_what_it_starts_does_not_inherit_the_socket(manager: socket.socket) -> None:
    Notifier.from_environment().notify("READY=1")
    assert manager.recv(100) == b"READY=1"
    assert "NOTIFY_SOCKET" not in os.environ


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier.from_environment()
    notifier.notify("READY=1")
    trio.run(notifier.watch)


def test_manager_that_is_gone_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(str(tmp_path / "nobody"), 0).notify("READY=1")
    assert "systemd was not told READY=1" in caplog.text
