"""Opening the registry in an etcd."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from eventgraph.background import open_background
from eventgraph.pipes.errors import PipeOptionError, RegistryUnavailableError
from eventgraph.pipes.etcd.address import Address
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.http import open_http
from eventgraph.pipes.etcd.lease import EtcdLease
from eventgraph.pipes.etcd.messages import GRANT
from eventgraph.pipes.etcd.pulse import watch_pulse
from eventgraph.pipes.etcd.read import read_entries
from eventgraph.pipes.etcd.refusal import no_etcd
from eventgraph.pipes.etcd.tls import tls_context
from eventgraph.pipes.etcd.view import EtcdView
from eventgraph.pipes.registry import Lease, Registry, View
from eventgraph.pipes.transport import Tls

MIN_TTL = 2  # seconds; etcd makes it longer by itself if its elections take longer
MAX_TTL = 9_000_000_000  # seconds, etcd's own limit
LEAVE_TIMEOUT = 1.0  # seconds for giving the leases back at the end


@asynccontextmanager
async def open_etcd(
    url: str, *, timeout: float = 5.0, keepalive: float = 5.0, tls: Tls | None = None
) -> AsyncIterator[Registry]:
    """A connection to an etcd of version 3.4 or later; it is made by the first call.

    Leaving revokes the leases, for a second at most; those that remain run out.

    Args:
        url: ``etcd://[user:password@]host:port[,host:port...]``: the members of one etcd, of
            which another is asked when one fails. ``etcds://`` for TLS.
        timeout: seconds for each call.
        keepalive: seconds of silence after which views say that they are not live.
        tls: the certificates for ``etcds``; None trusts who the system trusts, and shows none.
    Raises:
        PipeOptionError: of all this something cannot be used.
    """
    for name, value in (("timeout", timeout), ("keepalive", keepalive)):
        if not (value > 0 and math.isfinite(value)):
            raise PipeOptionError(f"{name} is {value} s; it must be finite and positive")
    address = Address.parse(url)
    context = tls_context(tls) if address.secure else False
    async with open_http(context, keepalive) as http, open_background() as nursery:
        registry = EtcdRegistry(Gateway(address, http, timeout), nursery)
        nursery.start_soon(watch_pulse, registry.gateway, registry.views, keepalive)
        try:
            yield registry
        finally:
            await registry.leave()


class EtcdRegistry(Registry):
    """Args: nursery: of the tasks that keep leases and views."""

    def __init__(self, gateway: Gateway, nursery: trio.Nursery) -> None:
        self.gateway = gateway
        self.views: set[EtcdView] = set()
        self._nursery = nursery
        self._leases: set[EtcdLease] = set()

    @property
    def url(self) -> str:
        return self.gateway.url

    async def read(self, prefix: str) -> dict[str, bytes]:
        return (await read_entries(self.gateway, prefix)).values

    def watch(
        self, prefix: str, on_change: Callable[[], None]
    ) -> AbstractAsyncContextManager[View]:
        return self._watch(prefix, on_change)

    async def grant(self, ttl: float, on_lost: Callable[[], None]) -> Lease:
        if not (0 < ttl <= MAX_TTL):
            raise PipeOptionError(f"the time to live is {ttl} s; it must be positive and finite")
        with trio.move_on_after(self.gateway.timeout):
            for lost in [lease for lease in self._leases if lease.lost]:
                await lost.end()
            asked = trio.current_time()
            seconds = max(MIN_TTL, math.ceil(ttl))
            granted = await self.gateway.call(GRANT, {"TTL": str(seconds)}, "grant a lease")
            if granted.id == 0 or granted.ttl <= 0:
                raise no_etcd(self.url, "it granted a lease without number or time")
            lease = EtcdLease(self.gateway, granted, asked, on_lost)
            self._leases.add(lease)
            self._nursery.start_soon(self._keep, lease)
            return lease
        raise RegistryUnavailableError(
            f"{self.url} did not answer within {self.gateway.timeout:g} s; cannot grant a lease"
        )

    async def leave(self) -> None:
        """Give everything back, as far as that goes in a second."""
        with trio.move_on_after(LEAVE_TIMEOUT, shield=True):
            async with trio.open_nursery() as nursery:
                for lease in self._leases:
                    lease.abandon()
                    nursery.start_soon(lease.end)
        self.gateway.close()

    async def _keep(self, lease: EtcdLease) -> None:
        await lease.keep()
        self._leases.discard(lease)  # not when it is cancelled: then `leave` ends it

    @asynccontextmanager
    async def _watch(self, prefix: str, on_change: Callable[[], None]) -> AsyncIterator[View]:
        view = EtcdView(self.gateway, prefix, on_change)
        await view.read()
        self.views.add(view)
        self._nursery.start_soon(view.follow)
        try:
            yield view
        finally:
            self.views.discard(view)
            await view.stop()
