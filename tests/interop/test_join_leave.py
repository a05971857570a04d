"""200 browsers' calls come and go, a fifth of them by `kill -9`: nothing is left of them."""

import time
from pathlib import Path

import msgspec
import pytest

from eventgraph import Address, GraphSnapshot
from tests.network.browser import mortal_browser
from tests.network.meeting import LIMIT, SETTINGS, Meeting, meeting, wait_until

BROWSERS = 8
WAVES = 5  # of each browser; the last one is cut off with it
AT_ONCE = 5
JOINS = BROWSERS * WAVES * AT_ONCE
MANY = f"""\
{SETTINGS}
[sessions]
limit = 200
per_second = 1000
"""
CONSENT = 2.0
"""Seconds; as configured."""
LEFT_OVER = 20 * 1024 * 1024
"""Octets that the process may grow by in all: 100 kB a call."""
LIBRARY_THREADS = 4
"""The pool of libuv, which is begun with the first call and stays."""


class Resources(msgspec.Struct, frozen=True):
    """What a server holds."""

    rooms: list[str]
    nodes: frozenset[Address]
    links: frozenset[tuple[Address, Address]]
    threads: int
    files: int


def resources(there: Meeting) -> Resources:
    graph = msgspec.json.decode(there.http.get("/graph").content, type=GraphSnapshot)
    process = Path("/proc", str(there.server.process.pid))
    return Resources(
        rooms=[room["room"] for room in there.http.get("/rooms").json()],
        nodes=frozenset(node.address for node in graph.nodes),
        links=frozenset((link.sender, link.receiver) for link in graph.links),
        threads=len(list((process / "task").iterdir())),
        files=len(list((process / "fd").iterdir())),
    )


def wait_until_as_before(there: Meeting, before: Resources) -> None:
    """Or until it takes too long; then it is told what is left."""
    end = time.monotonic() + LIMIT
    threads = range(before.threads + LIBRARY_THREADS + 1)
    while time.monotonic() < end:
        now = resources(there)
        if now.threads in threads and msgspec.structs.replace(before, threads=now.threads) == now:
            break
        time.sleep(0.1)
    assert now.rooms == before.rooms
    assert now.nodes == before.nodes
    assert now.links == before.links
    assert now.files == before.files
    assert now.threads in threads


def memory(there: Meeting) -> int:
    """Octets of the server that are in RAM."""
    pages = Path("/proc", str(there.server.process.pid), "statm").read_text().split()[1]
    return int(pages) * 4096


def come_and_go(there: Meeting, browser: int, directory: Path) -> None:
    """One browser's calls; those who are in a room at the end are killed with it."""
    with mortal_browser(there.playwright, there.server.url, directory) as caller:
        for wave in range(WAVES):
            paths = [f"/rooms/room-{(browser + i) % 3}?name=guest" for i in range(AT_ONCE)]
            calls = caller.run("callAll", paths, {"audio": "sendrecv"})
            if wave == WAVES - 1:
                break
            for i, call in enumerate(calls):
                if i % 2:
                    assert there.http.delete(caller.run("told", call)["location"]).is_success
                caller.run("hangUp", call)
        rooms = there.http.get("/rooms").json()
        assert sum(room["parties"] for room in rooms) >= AT_ONCE


@pytest.mark.interop("chromium", "iproute2")
def test_nothing_is_left_of_200_calls_a_fifth_of_which_were_killed(tmp_path: Path) -> None:
    with meeting(tmp_path, MANY) as there:
        fresh = resources(there)
        for browser in range(2):
            come_and_go(there, browser, tmp_path / f"early-{browser}")
        wait_until(lambda: there.http.get("/rooms").json() == [])
        warm = memory(there)

        began = time.monotonic()
        for browser in range(BROWSERS):
            come_and_go(there, browser, tmp_path / f"browser-{browser}")
        took = time.monotonic() - began
        empty = wait_until(lambda: there.http.get("/rooms").json() == [])
        wait_until_as_before(there, fresh)
        clean = time.monotonic() - began - took
        grown = memory(there) - warm
        print(
            f"{JOINS} joins in {took:.0f} s; rooms empty after {empty:.1f} s, all as before after "
            f"{clean:.1f} s: {fresh.threads} threads, {fresh.files} files; "
            f"{grown / 2**20:+.1f} MB on {warm / 2**20:.0f} MB"
        )
        assert empty < CONSENT + 2
        assert grown < LEFT_OVER
