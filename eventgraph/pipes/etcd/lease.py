"""EtcdLease: kept alive by a task of its own.

When nothing was heard for its time to live it counts as lost, although etcd may still have
it: a restarted etcd gives every lease its whole time again. So it is ended as soon as etcd is
back, and before the next is granted: no key of ours stands in the way of its successor.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from eventgraph.pipes.errors import LeaseLostError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.messages import (
    KEEP_ALIVE,
    PUT,
    REVOKE,
    TXN,
    LeaseAnswer,
    Method,
    Request,
    create_if_absent,
    delete_if_leased,
    key_of,
)
from eventgraph.pipes.registry import Lease

RETRY_MIN: Final = 0.1
RETRY_MAX: Final = 1.0
"""Seconds between two tries to renew, doubled from the first up to the last."""

T = TypeVar("T")


class EtcdLease(Lease):
    """Args: asked: when it was granted at the earliest, in trio's seconds."""

    def __init__(
        self, gateway: Gateway, granted: LeaseAnswer, asked: float, on_lost: Callable[[], None]
    ) -> None:
        self._gateway = gateway
        self._id = granted.id
        self._ttl = granted.ttl
        self._expires = asked + granted.ttl
        self._on_lost = on_lost
        self._scope = trio.CancelScope()
        self._tried_to_end = trio.Event()
        self._ending = trio.Lock()
        self._lost = False
        self.gone = False
        """Whether etcd has it no longer, as it said itself, or as we need not care."""

    @property
    def lost(self) -> bool:
        return self._lost

    async def put(self, key: str, value: bytes) -> None:
        request = {"key": key_of(key), "value": value, "lease": str(self._id)}
        await self._change(PUT, request, _put(key, value))

    async def create(self, key: str, value: bytes) -> bool:
        request = create_if_absent(key_of(key), value, self._id)
        answer = await self._change(TXN, request, _put(key, value))
        if answer.succeeded:
            return True
        found = [kv for r in answer.responses if r.response_range for kv in r.response_range.kvs]
        return any(kv.lease == self._id for kv in found)

    async def delete(self, key: str) -> None:
        request = delete_if_leased(key_of(key), self._id)
        await self._change(TXN, request, f"delete {key!r}")

    async def revoke(self) -> None:
        self.abandon()
        await self._tried_to_end.wait()

    def abandon(self) -> None:
        """It is ours no longer; `keep` ends it."""
        self._lost = True
        self._scope.cancel()

    async def keep(self) -> None:
        """Renew it until it is revoked or lost; then see to it that etcd has it no longer."""
        try:
            with self._scope:
                await self._keep_alive()
            pause = RETRY_MIN
            while not self.gone:
                await self.end()
                self._tried_to_end.set()
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX)
        finally:
            self._tried_to_end.set()

    async def end(self) -> None:
        """Have etcd remove it with its keys, if it answers."""
        async with self._ending:
            if self.gone:
                return
            try:
                await self._gateway.call(REVOKE, {"ID": str(self._id)}, "revoke a lease")
            except RegistryUnavailableError:
                return
            except RegistryError:
                pass  # it has run out, or we may not: then it will
            self.gone = True

    async def _keep_alive(self) -> None:
        try:
            while True:
                with trio.fail_at(self._expires):
                    await trio.sleep(self._ttl / 3)
                    await self._renew()
        except (trio.TooSlowError, LeaseLostError):
            self._lose()  # only a member says so, and it may lag: `keep` asks the majority

    async def _renew(self) -> None:
        pause = RETRY_MIN
        while True:
            sent = trio.current_time()
            try:
                answer = await self._gateway.call(
                    KEEP_ALIVE,
                    {"ID": str(self._id)},
                    "renew a lease",
                    timeout=min(self._gateway.timeout, self._ttl / 3),
                )
            except LeaseLostError:
                raise
            except RegistryError:
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX)
                continue
            if answer.result is None or answer.result.ttl <= 0:
                raise LeaseLostError
            self._ttl = answer.result.ttl
            self._expires = sent + self._ttl
            return

    async def _change(self, method: Method[T], request: Request, doing: str) -> T:
        if self._lost:
            raise LeaseLostError(f"cannot {doing}: the lease is lost or revoked; grant another")
        try:
            return await self._gateway.call(method, request, doing)
        except LeaseLostError:
            self.gone = True
            self._lose()
            raise

    def _lose(self) -> None:
        self._scope.cancel()
        if not self._lost:
            self._lost = True
            self._on_lost()


def _put(key: str, value: bytes) -> str:
    return f"put {key!r} ({len(value)} bytes)"
