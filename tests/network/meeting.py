"""A server, and browsers that can call it, in a network of their own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Playwright, sync_playwright

from tests.server.serving import ANY_PORTS, Server, serving

from .namespace import network_of_its_own

SETTINGS: Final = f"""\
{ANY_PORTS}
[webrtc]
consent_timeout = 2
"""
LIMIT: Final = 20.0
"""Seconds until what takes one or two must have happened."""


class Meeting:
    """Where to call, and by what.

    Attributes:
        server: that runs.
        playwright: to start browsers with.
        http: a client whose base is the server's.
    """

    def __init__(self, server: Server, playwright: Playwright, http: httpx.Client) -> None:
        self.server = server
        self.playwright = playwright
        self.http = http

    def parties(self, room: str) -> dict[str, Any]:
        """Who is in a room, by id."""
        found = self.http.get(f"/rooms/{room}").raise_for_status().json()
        return {party["id"]: party for party in found["parties"]}


@contextmanager
def meeting(directory: Path, settings: str = SETTINGS) -> Iterator[Meeting]:
    """A server that is up; the test is skipped where there can be no network of its own."""
    with (
        network_of_its_own(),
        serving(directory, settings) as server,
        sync_playwright() as playwright,
        httpx.Client(base_url=server.url, trust_env=False) as http,
    ):
        yield Meeting(server, playwright, http)
        status, said = server.end()
        assert status == 0
        assert said == "", said


def wait_until(happened: Callable[[], object], limit: float = LIMIT) -> float:
    """Ask again and again: nothing wakes us from another process. How long it took (seconds)."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() < began + limit
        time.sleep(0.02)
    return time.monotonic() - began
