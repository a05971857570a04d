"""Opening flows: a client with its server, for the length of a block."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from eventgraph.flows.authentication.opening import open_authentication
from eventgraph.flows.client import FlowClient, open_client
from eventgraph.flows.door import Door
from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.options import USUAL_REGISTRY, ServerOptions, read_path

ENVIRONMENT: Final = "EVENTGRAPH_FLOWS"
"""Of a client that a server starts: what it is to say when it connects, as JSON."""


class Started(msgspec.Struct, frozen=True):
    """What a client that a server has started is told by its environment."""

    options: ServerOptions
    client: str  # its id
    launch: Launch


@asynccontextmanager
async def open_flows(
    application: "str | ServerOptions | None" = None,
    *,
    name: str | None = None,
    start: bool = True,
    keepalive: float = 2.0,
) -> AsyncIterator[FlowClient]:
    """Take part in the flows of an application; what was provided and consumed ends with it.

    Args:
        application: or all options; those of a server that has to be started, too. None: as the
            server says that has started this process, else an error.
        name: of this client, for people; by default that of the program.
        start: whether to start a server if there is none.
        keepalive: seconds of silence after which a server is replaced.
    Raises:
        FlowServerError: there is no server, and none could be started.
        AuthenticationError: the server does not trust us, or we not it.
        FlowVersionError: it speaks another version.
        FlowOptionError, FlowNameError, FlowDirectoryError: the options cannot be used.
    """
    with _told() as started:
        async with open_client(_client(application, name, start, keepalive, started)) as client:
            yield client


def _client(
    application: str | ServerOptions | None,
    name: str | None,
    start: bool,
    keepalive: float,
    started: Started | None,
) -> FlowClient:
    if application is None:
        if started is None:
            raise FlowOptionError("of which application? Only what a server starts need not say")
        options = started.options
    elif isinstance(application, ServerOptions):
        options = application
    else:
        options = ServerOptions(application)
    if started is not None and started.options.realm != options.realm:
        started = None  # it takes part in something else as well
    return FlowClient(
        Door(options, start=start),
        open_authentication(options.authentication),
        name=name or (started.launch.name if started else _program()),
        launch=started.launch if started else None,
        id=started.client if started else None,
        keepalive=keepalive,
        registry=None if options.registry == USUAL_REGISTRY else options.shown_registry,
    )


def _program() -> str:
    path = sys.argv[0]
    return (Path(path).stem if path and path != "-c" else "") or "python"


@contextmanager
def _told() -> Iterator[Started | None]:
    """What a server says that has started this process.

    While that client lives it is not in the environment: who is opened beside it, or started
    by it, is another client.
    """
    text = os.environ.pop(ENVIRONMENT, None)
    try:
        yield _read(text) if text else None
    finally:
        if text is not None:
            os.environ[ENVIRONMENT] = text


def _read(text: str) -> Started:
    try:
        return msgspec.json.decode(text, type=Started, dec_hook=read_path)
    except msgspec.MsgspecError as error:
        raise FlowOptionError(f"${ENVIRONMENT} makes no sense: {error}") from None
