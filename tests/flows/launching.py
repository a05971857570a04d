"""Tests of clients that a server starts: a server of their own, and what it must not leave."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from eventgraph.background import open_background
from eventgraph.flows import ClientListing, FlowClient, Launch, Listing, ServerOptions
from eventgraph.flows.authentication.trust import TrustEverybody
from eventgraph.flows.client import open_client
from eventgraph.flows.conversion.opening import open_conversions
from eventgraph.flows.door import Door
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.server.server import FlowServer
from eventgraph.flows.server.supervisor import Supervisor
from tests.flows.leftovers import ended, processes_about

PROGRAM: Final = str(Path(__file__).with_name("launched_client.py"))
KEY: Final = "studio/tone"
PATIENCE: Final = 30.0  # seconds; these machines are shared


@pytest.fixture
def options(tmp_path: Path) -> Iterator[ServerOptions]:
    """Of a server that ends when its clients have; nothing may be left of either."""
    yield ServerOptions("tests", runtime_directory=tmp_path, registry="", idle_timeout=0.5)
    gone = ended(str(tmp_path), PATIENCE)
    for pid in processes_about(str(tmp_path)):  # the next test is not to suffer
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert gone
    assert list(tmp_path.glob("sf_*")) == []


def launch(tag: Path, behaviour: str, key: str = KEY, **limits: object) -> Launch:
    """Of `launched_client`."""
    command = (sys.executable, PROGRAM, str(tag), behaviour, key)
    return Launch(command, behaviour, **{"backoff": 0.05, **limits})  # type: ignore[arg-type]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so."""
    with trio.fail_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110  # processes set no events
            await trio.sleep(0.05)


async def find(
    client: FlowClient, name: str, accept: Callable[[ClientListing], bool] = lambda c: c.pid > 0
) -> ClientListing:
    """A client by name, as soon as it is as wanted."""
    with trio.fail_after(PATIENCE):
        while True:
            for found in here(await client.look()):
                if found.name == name and accept(found):
                    return found
            await trio.sleep(0.05)


def here(listing: Listing) -> tuple[ClientListing, ...]:
    """The clients of the machine that was asked."""
    return listing.machines[0].clients


def connected(client: ClientListing) -> bool:
    """Whether it has a session."""
    return client.pid > 0 and not client.problem


def log_path(options: ServerOptions) -> Path:
    """Where the server writes."""
    directory = RuntimeDirectory(options.runtime_directory, options.realm, options.own_machine)
    return directory.path / "log"


def log_of(options: ServerOptions) -> str:
    """What the server has written."""
    return log_path(options).read_text()


@contextmanager
def killed_at_end(pid: int) -> Iterator[None]:
    """Whatever the test finds."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def server_in_process(
    options: ServerOptions, *, connect_timeout: float = PATIENCE
) -> AsyncIterator[tuple[FlowServer, Supervisor, FlowClient]]:
    """With a client of the test's."""
    directory = RuntimeDirectory(options.runtime_directory, options.realm, options.own_machine)
    place = directory.occupy()
    assert place is not None
    with place:
        server = FlowServer(options, TrustEverybody(), open_conversions())
        supervisor = Supervisor(server, connect_timeout=connect_timeout)
        async with open_background() as nursery:
            await nursery.start(supervisor.run)
            nursery.start_soon(server.run, place.listener)
            client = FlowClient(Door(options, start=False), TrustEverybody(), name="test")
            try:
                async with open_client(client):
                    yield server, supervisor, client
            finally:
                with trio.CancelScope(shield=True):
                    await supervisor.end_all()
