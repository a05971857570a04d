"""``eventgraph top`` on a running server, in a terminal and without."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtp.cli import main
from tests.server.serving import CALL, Server, serving

LIMIT = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_once_prints_totals_and_every_node(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--once", "--interval", "0.5", "--url", server.url]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith(f"eventgraph 0.1.0  {server.url}  up ")
    assert re.match(r"events  [1-9]\d*/s .  dropped 0/s, 0 in all", lines[1])
    assert re.match(r"graph   13 nodes, 11 links  crashes 0  restarts 0", lines[2])
    assert "0/200 calls" in out
    assert "\x1b" not in out
    (tone,) = [line.split() for line in lines if " ToneSource " in line]
    assert tone[:4] == ["●", "tone", "tone", "ToneSource"]
    assert 25 <= float(tone[4]) <= 75  # a second; it makes 50
    assert all(line == line.rstrip() for line in lines)


def test_json_is_for_programs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["top", "--json", "--interval", "0.5", "--sort", "rate", "--url", server.url]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    nodes = found["graph"]["nodes"]
    assert len(nodes) == 13
    rates = [node["taken"] + node["given"] for node in nodes]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0
    assert found["server"]["descriptors"] > 3


def test_without_a_terminal_it_says_what_to_do(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--url", server.url]) == 1
    assert "--once" in capsys.readouterr().err


def test_without_a_server_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


class Terminal:
    """A terminal of 100 columns and 24 lines in which a command runs."""

    def __init__(self, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CALL, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def wait_for(self, text: str) -> None:
        """Until it is shown, since the last time."""
        end = time.monotonic() + LIMIT
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")
        self.shown = self.shown.partition(text)[2]

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(server: Server) -> Iterator[Terminal]:
    terminal = Terminal("top", "--interval", "0.2", "--url", server.url)
    yield terminal
    terminal.close()


def test_keys_sort_pause_and_quit_and_the_terminal_is_as_before(terminal: Terminal) -> None:
    terminal.wait_for("\x1b[?1049h")  # a screen of its own
    terminal.wait_for("sort: trouble")
    terminal.press("s")
    terminal.wait_for("drop/s ▾")
    terminal.press("p")
    terminal.wait_for("paused")
    terminal.press("q")
    terminal.wait_for("\x1b[?1049l")
    assert terminal.process.wait(LIMIT) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_ctrl_c_ends_it_in_order(terminal: Terminal) -> None:
    terminal.wait_for("sort: trouble")
    terminal.process.send_signal(2)
    terminal.wait_for("\x1b[?1049l")
    assert terminal.process.wait(LIMIT) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_server_that_goes_away_is_told_and_top_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        terminal = Terminal("top", "--interval", "0.2", "--url", server.url)
        try:
            terminal.wait_for("sort: trouble")
            assert server.end()[0] == 0
            terminal.wait_for("no server answers")
            terminal.press("q")
            terminal.wait_for("\x1b[?1049l")
            assert terminal.process.wait(LIMIT) == 0
        finally:
            terminal.close()
