"""Pipes: one process's part in a system of many; owns sockets, tasks and the registry."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from eventgraph.background import open_background
from eventgraph.pipes.destination import Destination
from eventgraph.pipes.errors import PipeOptionError
from eventgraph.pipes.member import Member
from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.options import Binding, DestinationOptions, check_name, check_prefix
from eventgraph.pipes.records import DEFAULT_PREFIX, DestinationEntry, read_entries
from eventgraph.pipes.registry import Registry
from eventgraph.pipes.transport import SocketLimits, Tls, Transport
from eventgraph.pipes.transports import open_transport
from eventgraph.pipes.wire import Hook

CLOSE_TIMEOUT = 10.0  # seconds that leaving waits for all endpoints to end in order


class Pipes:
    """Registers destinations and joins groups. Made by `open_pipes`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        registry: Registry,
        transport: Transport,
        *,
        prefix: str,
        binding: Binding,
        limits: SocketLimits,
        ttl: float,
    ) -> None:
        self.registry = registry
        self.prefix = prefix
        self._nursery = nursery
        self._transport = transport
        self._binding = binding
        self._limits = limits
        self._ttl = ttl
        self._endpoints: set[Destination | Member] = set()

    async def register(
        self,
        name: str,
        options: DestinationOptions | None = None,
        *,
        standby: bool = False,
        binding: Binding | None = None,
        hook: Hook | None = None,
    ) -> Destination:
        """Become the sender of a destination.

        Args:
            standby: if another has it, wait until it is gone, and take over.
            binding: where its pipes listen; by default as given to `open_pipes`.
            hook: turns objects that MessagePack does not know into such that it does.
        Raises:
            DestinationExistsError: another sender has it.
            RegistryUnavailableError: the registry does not answer.
            RegistryError: the registry refuses.
            TransportError: the sockets cannot listen there.
            PipeNameError: it cannot be a name.
        """
        destination = Destination(
            self.registry,
            self._transport,
            self.prefix,
            check_name("destination", name),
            options or DestinationOptions(),
            binding=binding or self._binding,
            limits=self._limits,
            ttl=self._ttl,
            standby=standby,
            hook=hook,
        )
        await self._start(destination)
        return destination

    async def join(
        self,
        destination: str,
        group: str,
        *,
        payload_type: Any = Any,
        hook: Callable[[type, Any], Any] | None = None,
    ) -> Member:
        """Become a member of a group. The destination may come later, and may come and go.

        Args:
            payload_type: what the ``obj`` of events is to be; events that do not fit are
                dropped and counted. ``memoryview`` saves a copy of bytes.
            hook: makes objects of such a type, as msgspec's ``dec_hook``.
        Raises:
            RegistryUnavailableError: the registry does not answer.
            RegistryError: the registry refuses.
            PipeNameError: these cannot be names.
        """
        member = Member(
            self.registry,
            self._transport,
            self.prefix,
            check_name("destination", destination),
            check_name("group", group),
            limits=self._limits,
            ttl=self._ttl,
            payload_type=payload_type,
            hook=hook,
        )
        await self._start(member)
        return member

    async def _start(self, endpoint: Destination | Member) -> None:
        self._endpoints = {known for known in self._endpoints if not known.over}
        self._endpoints.add(endpoint)
        await endpoint.start(self._nursery)

    async def list(self) -> dict[str, DestinationEntry]:
        """All destinations that stand in the registry, by name.

        Raises:
            RegistryUnavailableError: the registry does not answer.
        """
        return read_entries(self.prefix, await self.registry.read(self.prefix + "/"))

    async def close(self) -> None:
        """Leave all groups and unregister all destinations, side by side."""
        async with trio.open_nursery() as nursery:
            for endpoint in self._endpoints:
                end = endpoint.leave if isinstance(endpoint, Member) else endpoint.unregister
                nursery.start_soon(end)


@asynccontextmanager
async def open_pipes(
    registry: str = "embedded:",
    *,
    transport: str = "nng",
    binding: Binding | None = None,
    tls: Tls | None = None,
    registry_tls: Tls | None = None,
    prefix: str = DEFAULT_PREFIX,
    limits: SocketLimits | None = None,
    ttl: float = 5.0,
    timeout: float = 5.0,
) -> AsyncIterator[Pipes]:
    """Take part. Leaving it leaves all groups and unregisters all destinations.

    Args:
        registry: ``embedded:`` for this machine, ``embedded:/path/of/a/socket``, or
            ``etcd://[user:password@]host:port``, ``etcds://`` with TLS.
        transport: what carries the messages.
        binding: where destinations listen; by default on loopback.
        tls: certificates for pipes with the scheme ``tls+tcp``.
        registry_tls: certificates for the registry.
        prefix: of all keys.
        limits: of sockets, and the keepalive time.
        ttl: seconds after which the keys of a dead process vanish.
        timeout: seconds that a call to the registry may take.
    Raises:
        RegistryUnavailableError: the registry does not answer.
        PipeOptionError, PipeNameError: an option makes no sense.
        TransportError: the transport is not installed, or the certificates cannot be used.
    """
    if not ttl > 0 or not timeout > 0:
        raise PipeOptionError(f"ttl is {ttl} s, timeout {timeout} s; both must be above 0")
    limits = limits or SocketLimits()
    prefix = check_prefix(prefix)
    async with (
        open_registry(registry, timeout=timeout, tls=registry_tls) as opened,
        open_transport(transport, limits, tls) as carrier,
        open_background() as nursery,
    ):
        pipes = Pipes(
            nursery,
            opened,
            carrier,
            prefix=prefix,
            binding=binding or Binding(scheme="tls+tcp" if tls else "tcp"),
            limits=limits,
            ttl=ttl,
        )
        yield pipes
        with trio.move_on_after(CLOSE_TIMEOUT):
            await pipes.close()
