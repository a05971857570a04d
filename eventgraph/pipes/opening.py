"""Opening a registry by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventgraph.pipes.embedded.opening import open_embedded
from eventgraph.pipes.embedded.path import socket_path
from eventgraph.pipes.errors import PipeOptionError
from eventgraph.pipes.registry import Registry
from eventgraph.pipes.transport import Tls


@asynccontextmanager
async def open_registry(
    url: str, *, timeout: float = 5.0, tls: Tls | None = None
) -> AsyncIterator[Registry]:
    """Connect to a registry; its tasks run until the block is left.

    Args:
        url: ``embedded:`` for the one of this user on this machine, which this process may
            come to serve; ``embedded:/path/to.sock`` for another. ``etcd://host:2379``, or
            ``etcds:`` with TLS, for etcd; several hosts and a password as in ``open_etcd``.
        timeout: seconds within which every call of the registry ends, and this one.
        tls: files for mutual TLS, for ``etcds:``.
    Raises:
        PipeOptionError: a URL that cannot be used.
        RegistryUnavailableError: no answer in time.
        RegistryError: it refused.
    """
    scheme = url.partition(":")[0]
    if scheme == "embedded":
        if tls is not None:
            raise PipeOptionError(f"tls with {url!r}: the embedded registry uses no network")
        async with open_embedded(socket_path(url), timeout=timeout) as registry:
            yield registry
    elif scheme in ("etcd", "etcds"):
        if tls is not None and scheme == "etcd":
            raise PipeOptionError(f"tls with {url!r}: say etcds:// for TLS")
        from eventgraph.pipes.etcd.opening import open_etcd  # only who uses it needs httpx

        async with open_etcd(url, timeout=timeout, tls=tls) as registry:
            yield registry
    else:
        raise PipeOptionError(
            f"no registry {url!r}: use embedded:, embedded:/path/to.sock, etcd://host:2379 "
            "or etcds://host:2379"
        )
