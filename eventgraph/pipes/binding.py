"""Listening where a `Binding` says, and the URL that others are told."""

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import ifaddr

from eventgraph.pipes.errors import PipeOptionError, TransportError
from eventgraph.pipes.options import Binding


class Listening(Protocol):
    """A socket that listens."""

    @property
    def url(self) -> str: ...


S = TypeVar("S", bound=Listening)


def listen(make: Callable[[str], S], binding: Binding) -> S:
    """Make a socket at the first port that is free.

    Raises:
        PipeOptionError: there is no such interface.
        TransportError: no port is free, or the address is not ours.
    """
    if binding.scheme in ("ipc", "inproc"):
        return make(_local_url(binding))
    host = bracketed(_address_of(binding.interface) if binding.interface else binding.host)
    first, last = binding.ports
    for port in range(first, last + 1):
        try:
            return make(f"{binding.scheme}://{host}:{port}")
        except TransportError as error:
            if not error.in_use or port == last:
                raise
    raise AssertionError("a range of ports is never empty")


def advertised(url: str, binding: Binding) -> str:
    """What others dial: with the host that they know this machine by."""
    if binding.advertise is None or binding.scheme in ("ipc", "inproc"):
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=f"{bracketed(binding.advertise)}:{parts.port}").geturl()


def bracketed(host: str) -> str:
    """As it stands in a URL: an IPv6 address has brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _local_url(binding: Binding) -> str:
    name = uuid.uuid4().hex
    if binding.scheme == "inproc":
        return f"inproc://{name}"
    directory = binding.host if binding.host.startswith("/") else tempfile.gettempdir()
    return f"ipc://{Path(directory) / f'eventgraph-{name}.ipc'}"


def _address_of(interface: str) -> str:
    adapters = {adapter.name: adapter for adapter in ifaddr.get_adapters()}
    if interface not in adapters:
        raise PipeOptionError(
            f"there is no network interface {interface!r}; there are {', '.join(sorted(adapters))}"
        )
    for ip in adapters[interface].ips:
        if isinstance(ip.ip, str):  # IPv4; the others are tuples
            return ip.ip
    for ip in adapters[interface].ips:
        if isinstance(ip.ip, tuple) and not ip.ip[2]:  # no link-local address
            return ip.ip[0]
    raise PipeOptionError(f"the network interface {interface!r} has no address")
