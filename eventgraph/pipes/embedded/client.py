"""EmbeddedClient: the registry as seen from any process, also from the one that serves it.

A lease is the connection that it was granted on: it is lost when the connection is, and not
before. A server that hangs (a stopped process) is waited for: it can end no lease while it
hangs, so nothing is lost; only the views say that they are not live.
"""

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import trio

from eventgraph.pipes.embedded.connection import Connection, ConnectionLostError
from eventgraph.pipes.embedded.lease import EmbeddedLease
from eventgraph.pipes.embedded.protocol import (
    Changes,
    Entries,
    Grant,
    Read,
    Revoke,
    Unwatch,
    Watch,
)
from eventgraph.pipes.embedded.store import check_key
from eventgraph.pipes.embedded.view import EmbeddedView
from eventgraph.pipes.errors import PipeOptionError, RegistryUnavailableError
from eventgraph.pipes.registry import Lease, Registry, View

KEEPALIVE: Final = 3.0
"""Seconds of silence after which the server counts as away. Well below the server's patience."""

FIRST_PAUSE: Final = 0.02
LAST_PAUSE: Final = 1.0
"""Seconds at most before the next connection; doubled after each that did not last so long."""

T = TypeVar("T")


class EmbeddedClient(Registry):
    """Connects again and again.

    Args:
        url: for people.
        dial: makes a connection; takes as long as it needs.
        timeout: of a call, in seconds.
    """

    def __init__(
        self,
        url: str,
        dial: Callable[[], Awaitable[trio.abc.Stream]],
        *,
        timeout: float = 5.0,
        keepalive: float = KEEPALIVE,
    ) -> None:
        self._url = url
        self._dial = dial
        self._timeout = timeout
        self._keepalive = keepalive
        self._numbers = itertools.count(1)
        self._views: dict[int, EmbeddedView] = {}
        self._leases: list[EmbeddedLease] = []  # of the connection; also those that were revoked
        self._connection: Connection | None = None
        self._change = trio.Event()  # of _connection or _left
        self._left = False
        self._fault = "nobody answers"  # why there is no connection

    async def run(self) -> None:
        """Connect, again and again, until cancelled.

        Raises:
            PipeOptionError: the first connection cannot be made, and never will be.
        """
        pause = FIRST_PAUSE
        first = True
        try:
            while True:
                began = trio.current_time()
                try:
                    connection = Connection(await self._dial(), self, self._keepalive)
                    first = False
                    await connection.run()
                    self._fault = connection.fault
                except PipeOptionError as error:
                    if first:
                        raise
                    self._fault = str(error)
                lasted = trio.current_time() - began > LAST_PAUSE
                pause = FIRST_PAUSE if lasted else min(2 * pause, LAST_PAUSE)
                await trio.sleep(pause * random.random())  # not all clients at once
        finally:
            self._left = True
            self._set_connection(None)

    async def wait_connected(self) -> None:
        """Wait for a connection.

        Raises:
            RegistryUnavailableError: none within the time-out of a call.
        """

        async def do(_: Connection) -> None:
            return

        await self._call(do)

    @property
    def url(self) -> str:
        return self._url

    async def read(self, prefix: str) -> dict[str, bytes]:
        check_key(prefix)
        answer = await self._call(lambda connection: connection.ask(Read(0, prefix)))
        assert isinstance(answer, Entries)
        return answer.entries

    @asynccontextmanager
    async def watch(self, prefix: str, on_change: Callable[[], None]) -> AsyncIterator[View]:
        check_key(prefix)
        view = EmbeddedView(next(self._numbers), prefix, on_change)
        self._views[view.number] = view
        try:
            await self._call(lambda connection: self._begin(view, connection))
            view.entered = True
            yield view
        finally:
            del self._views[view.number]
            if view.entered and self._connection is not None:
                self._connection.tell(Unwatch(0, view.number))
            view.entered = False

    async def grant(self, ttl: float, on_lost: Callable[[], None]) -> Lease:
        return await self._call(lambda connection: self._grant(on_lost, connection))

    # Told by the connection

    def on_open(self, connection: Connection) -> None:
        self._set_connection(connection)
        self._reread()

    def on_pong(self, connection: Connection) -> None:
        self._reread()  # what was refused

    def on_answering(self, connection: Connection) -> None:
        for view in list(self._views.values()):
            view.tell()

    def on_changes(self, changes: Changes) -> None:
        view = self._views.get(changes.watch)
        if view is not None and self._connection is not None:
            view.apply(changes, self._connection)

    def on_lost(self, connection: Connection) -> None:
        self._set_connection(None)
        leases, self._leases = self._leases, []
        for view in list(self._views.values()):
            view.connection = None
            view.tell()
        for lease in leases:
            if not lease.revoked:
                lease.on_lost()

    async def _call(self, do: Callable[[Connection], Awaitable[T]]) -> T:
        """Do it on a connection; once more on the next, if that one is lost meanwhile."""
        with trio.move_on_after(self._timeout):
            while not self._left:
                if self._connection is None:
                    await self._change.wait()
                    continue
                try:
                    return await do(self._connection)
                except ConnectionLostError:
                    continue
        await trio.lowlevel.checkpoint()  # whoever is cancelled by the end of run() is no caller
        reason = "it has been left" if self._left else self._reason()
        raise RegistryUnavailableError(f"the registry {self._url} is not to be had: {reason}")

    def _reason(self) -> str:
        if self._connection is None:
            return f"no connection within {self._timeout} s; {self._fault}"
        return f"no answer within {self._timeout} s"

    async def _begin(self, view: EmbeddedView, connection: Connection) -> None:
        await connection.ask(Watch(0, view.number, view.prefix), Unwatch(0, view.number))
        if not connection.open:  # lost since the answer came
            raise ConnectionLostError

    async def _grant(self, on_lost: Callable[[], None], connection: Connection) -> EmbeddedLease:
        number = next(self._numbers)
        await connection.ask(Grant(0, number), Revoke(0, number))
        if not connection.open:
            raise ConnectionLostError
        lease = EmbeddedLease(number, connection, self._timeout, on_lost)
        self._leases = [*(lease for lease in self._leases if not lease.revoked), lease]
        return lease

    def _reread(self) -> None:
        """Watch again what was watched on a connection that is gone."""
        for view in self._views.values():
            if view.entered and view.connection is None and self._connection is not None:
                self._connection.tell(Watch(0, view.number, view.prefix))

    def _set_connection(self, connection: Connection | None) -> None:
        self._connection = connection
        self._change.set()
        self._change = trio.Event()
