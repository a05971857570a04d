"""EmbeddedLease: a lease of the embedded registry, which lives as long as its connection."""

from collections.abc import Callable

import trio

from eventgraph.pipes.embedded.connection import Connection, ConnectionLostError
from eventgraph.pipes.embedded.protocol import AnyRequest, Create, Delete, Done, Put, Revoke
from eventgraph.pipes.embedded.store import check_entry, check_key
from eventgraph.pipes.errors import LeaseLostError, RegistryUnavailableError
from eventgraph.pipes.registry import Lease


class EmbeddedLease(Lease):
    """Made by `EmbeddedClient.grant`."""

    def __init__(
        self, number: int, connection: Connection, timeout: float, on_lost: Callable[[], None]
    ) -> None:
        self.revoked = False
        self.on_lost = on_lost
        self._number = number
        self._connection = connection
        self._timeout = timeout

    @property
    def lost(self) -> bool:
        return self.revoked or not self._connection.open

    async def put(self, key: str, value: bytes) -> None:
        check_entry(key, value)
        await self._ask(Put(0, self._number, key, value))

    async def create(self, key: str, value: bytes) -> bool:
        check_entry(key, value)
        return (await self._ask(Create(0, self._number, key, value))).has

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._ask(Delete(0, self._number, key))

    async def revoke(self) -> None:
        if self.lost:
            self.revoked = True
            await trio.lowlevel.checkpoint()
            return
        self.revoked = True
        done = self._connection.tell(Revoke(0, self._number))
        with trio.move_on_after(self._timeout):
            await done.wait()

    async def _ask(self, request: AnyRequest) -> Done:
        if not self.lost:
            with trio.move_on_after(self._timeout):
                try:
                    answer = await self._connection.ask(request)
                except ConnectionLostError:
                    pass
                else:
                    assert isinstance(answer, Done)
                    return answer
            if not self.lost:
                raise RegistryUnavailableError(
                    f"the registry has not answered within {self._timeout} s"
                )
        await trio.lowlevel.checkpoint()
        raise LeaseLostError("the lease is lost, and its keys are gone: grant another")
