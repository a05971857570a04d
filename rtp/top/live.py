"""A server asked again and again, and keys listened to meanwhile."""

import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import httpx
import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from eventgraph import GraphSnapshot
from rtp.remote.asking import RemoteError, ask
from rtp.remote.graph import fetch_graph

from . import activity, server
from .activity import Order
from .screen import screen

HISTORY: Final = 30
"""Looks back, in the line of bars."""
ONCE_WIDTH: Final = 400
"""Columns of what is printed to no terminal, at most."""


class Look(NamedTuple):
    """A server at one time, by a clock that only goes forward (seconds)."""

    at: float
    graph: GraphSnapshot
    samples: server.Samples | None


class Top:
    """What has been seen of a server."""

    def __init__(self, url: str, token: str, order: Order) -> None:
        self.order = order
        self._url = url
        self._token = token
        self._looks: deque[Look] = deque(maxlen=2)
        self._history: deque[float] = deque(maxlen=HISTORY)

    def look(self) -> None:
        """Raises: RemoteError: the server is not to be had."""
        graph = fetch_graph(self._url, self._token)
        at = time.monotonic()
        answer = ask("GET", self._url, "/metrics", self._token)
        samples = None
        if answer.status_code == httpx.codes.OK:
            try:
                samples = server.parse(answer.text)
            except ValueError as error:
                raise RemoteError(f"{answer.url} is not for Prometheus: {error}") from error
        self._looks.append(Look(at, graph, samples))
        if len(self._looks) == 2:
            self._history.append(self._activity().taken)

    def _activity(self) -> activity.Activity:
        before, now = self._looks[0], self._looks[-1]
        return activity.compare(before.graph, now.graph, max(now.at - before.at, 1e-3))

    def _server(self) -> server.ServerActivity | None:
        before, now = self._looks[0], self._looks[-1]
        if before.samples is None or now.samples is None:
            return None
        seconds = max(now.at - before.at, 1e-3)
        return server.compare(before.samples, now.samples, seconds, time.time())

    def show(self, *, rows: int | None = None, footer: Text | None = None) -> RenderableType:
        """What is to be printed."""
        return screen(
            self._url,
            self._looks[-1].graph,
            self._activity(),
            self._server(),
            order=self.order,
            epoch=time.time(),
            rows=rows,
            history=tuple(self._history),
            footer=footer,
        )

    def to_json(self) -> bytes:
        """The same for programs."""
        nodes = activity.in_order(self._activity().nodes, self.order)
        found = msgspec.structs.replace(self._activity(), nodes=nodes)
        return msgspec.json.encode({"graph": found, "server": self._server()})


def show_once(top: Top, interval: float, *, json: bool) -> None:
    """Look twice, and print it.

    Raises:
        RemoteError: the server is not to be had.
    """
    top.look()
    time.sleep(interval)
    top.look()
    if json:
        sys.stdout.write(top.to_json().decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else ONCE_WIDTH)
    with console.capture() as capture:
        console.print(top.show())
    for line in capture.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def show_live(top: Top, interval: float) -> None:
    """Show it until q or Ctrl-C; what goes wrong later is shown, and tried again.

    Raises:
        RemoteError: the server is not to be had at the start.
    """
    top.look()
    console = Console()
    paused, problem = False, ""
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            footer = _footer(top.order, paused=paused, problem=problem)
            live.update(top.show(rows=console.height, footer=footer), refresh=True)
            match keys.wait(interval):
                case "q":
                    return
                case "s":
                    orders = list(Order)
                    top.order = orders[(orders.index(top.order) + 1) % len(orders)]
                case "p":
                    paused = not paused
                case _ if not paused:
                    try:
                        top.look()
                        problem = ""
                    except RemoteError as error:
                        problem = str(error)


def _footer(order: Order, *, paused: bool, problem: str) -> Text:
    footer = Text(no_wrap=True, overflow="ellipsis")
    for key, what in (("q", "quit"), ("s", f"sort: {order}"), ("p", "pause")):
        footer.append(f" {key} ", style="reverse")
        footer.append(f" {what}  ", style="dim")
    if problem:
        footer.append(problem, style="bold red")
    elif paused:
        footer.append("paused", style="bold yellow")
    return footer


class _Keys:
    """Keys of a terminal; of none there are none."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._until = 0.0

    def wait(self, seconds: float) -> str:
        """The next key; "" if none is pressed for so long since one was waited for in vain."""
        now = time.monotonic()
        if self._until <= now:
            self._until = now + seconds
        if self._descriptor is None:
            time.sleep(seconds)
        elif select.select([self._descriptor], [], [], self._until - now)[0]:
            return os.read(self._descriptor, 1).decode(errors="replace").lower() or "q"
        self._until = 0.0
        return ""


@contextmanager
def _keys() -> Iterator[_Keys]:
    """The terminal gives each key at once, and does not show it."""
    if not sys.stdin.isatty():
        yield _Keys(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield _Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
