"""Opening the embedded registry: connect, or serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from eventgraph.background import open_background
from eventgraph.pipes.embedded.client import FIRST_PAUSE, KEEPALIVE, EmbeddedClient
from eventgraph.pipes.embedded.server import SILENCE, EmbeddedServer
from eventgraph.pipes.embedded.socket import Claim, dial
from eventgraph.pipes.embedded.store import Store
from eventgraph.pipes.registry import Registry

LAST_PAUSE: Final = 0.2
"""Seconds between looking whether one can connect or serve; it costs two system calls."""

GLANCE: Final = 1.0
"""Seconds between looking whether the socket we serve on has been removed."""


@asynccontextmanager
async def open_embedded(
    path: Path, *, timeout: float = 5.0, keepalive: float = KEEPALIVE, silence: float = SILENCE
) -> AsyncIterator[Registry]:
    """The registry at a path, which this process may come to serve.

    Args:
        timeout: of each call, in seconds, and of this one.
        keepalive: seconds of silence after which the server counts as away.
        silence: seconds of silence after which we, as the server, cut a client off.
    Raises:
        PipeOptionError: there cannot be a registry at that path.
        RegistryUnavailableError: there is one, and it does not answer.
    """
    async with open_background() as nursery:
        place = _Place(path, silence, nursery)
        url = f"embedded:{path}"
        client = EmbeddedClient(url, place.dial, timeout=timeout, keepalive=keepalive)
        nursery.start_soon(client.run)
        await client.wait_connected()
        yield client


class _Place:
    """Where the registry is, and this process as one that can serve it."""

    def __init__(self, path: Path, silence: float, nursery: trio.Nursery) -> None:
        self._path = path
        self._silence = silence
        self._nursery = nursery

    async def dial(self) -> trio.abc.Stream:
        """Connect; serve, if nobody does."""
        pause = FIRST_PAUSE
        while True:
            try:
                stream = dial(self._path)
            except BlockingIOError:
                pass  # it has its hands full
            else:
                if stream is not None:
                    return stream
                if (claim := Claim.take(self._path)) is not None:
                    self._serve(claim)
                    continue
            await trio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _serve(self, claim: Claim) -> None:
        try:
            listener = claim.listen()
        except BaseException:
            claim.release()
            raise
        self._nursery.start_soon(self._serve_until_removed, claim, listener)

    async def _serve_until_removed(self, claim: Claim, listener: trio.SocketListener) -> None:
        """Two registries at one path would be worse than none: the removed one gives up."""
        async with open_background() as nursery:
            nursery.start_soon(EmbeddedServer(Store(), silence=self._silence).serve, listener)
            try:
                while claim.stands():  # noqa: ASYNC110  # nothing tells of a removed file
                    await trio.sleep(GLANCE)
            finally:
                nursery.cancel_scope.cancel()
                claim.release()
