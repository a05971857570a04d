"""URLs of sockets, checked before a library sees them: so all transports refuse alike."""

from ipaddress import IPv6Address, ip_address
from pathlib import PurePosixPath

import msgspec

from eventgraph.pipes.errors import TransportError

MAX_IPC_PATH = 107  # bytes; sun_path of unix(7) less its final zero
MAX_INPROC_NAME = 120  # characters; nng takes 127
LOCAL = frozenset({"ipc", "inproc"})  # schemes that stay on the machine
WEB = frozenset({"ws", "wss"})
TLS = frozenset({"tls+tcp", "wss"})
WILDCARDS = frozenset({"*", "0.0.0.0", "[::]"})


class Url(msgspec.Struct, frozen=True):
    """The parts of ``tcp://host:port``, ``ws://host:port/path``, ``ipc:///path``, ``inproc://name``.

    ``host`` keeps the brackets of an IPv6 address; ``path`` is the name of an inproc one.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if not self.host:
            return f"{self.scheme}://{self.path}"
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def bare_host(self) -> str:
        """Without brackets, as a certificate has it."""
        return self.host.strip("[]")


def listen_url(text: str, schemes: frozenset[str]) -> Url:
    """Where to listen: an address of this machine, ``localhost``, or a wildcard.

    Names are refused, as looking one up would block.

    Raises:
        TransportError: it makes no sense, or the scheme is none of ``schemes``.
    """
    url = _parse(text, schemes)
    if url.scheme not in LOCAL and url.host not in {"*", "localhost"} and not _is_address(url.host):
        raise TransportError(f"{text}: listen on an address of this machine, not on a name")
    return url


def dial_url(text: str, schemes: frozenset[str]) -> Url:
    """Where to dial: any host, but no wildcard, and a port.

    Raises:
        TransportError: it makes no sense, or the scheme is none of ``schemes``.
    """
    url = _parse(text, schemes)
    if url.scheme not in LOCAL and (not url.port or url.host in WILDCARDS):
        raise TransportError(f"{text}: dial a host and a port, neither a wildcard nor 0")
    return url


def _parse(text: str, schemes: frozenset[str]) -> Url:
    scheme, separator, rest = text.partition("://")
    if not separator or not rest or not text.isprintable() or " " in text:
        raise TransportError(f"{text!r} is no URL; one looks like tcp://host:port")
    if scheme not in schemes:
        raise TransportError(f"{text}: the schemes here are {', '.join(sorted(schemes))}")
    if scheme == "ipc":
        if not PurePosixPath(rest).is_absolute() or len(rest.encode()) > MAX_IPC_PATH:
            raise TransportError(f"{text}: needs an absolute path of {MAX_IPC_PATH} bytes or less")
        return Url(scheme, path=rest)
    if scheme == "inproc":
        if len(rest) > MAX_INPROC_NAME:
            raise TransportError(f"{text}: needs a name of {MAX_INPROC_NAME} characters or less")
        return Url(scheme, path=rest)
    authority, slash, path = rest.partition("/")
    if slash and scheme not in {"ws", "wss"}:
        raise TransportError(f"{text}: {scheme} has no path")
    host, colon, port = authority.rpartition(":")
    if not colon or not _is_host(host):
        raise TransportError(f"{text}: needs a host and a port, as {scheme}://host:port")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise TransportError(f"{text}: a port is a number from 0 to 65535")
    return Url(scheme, host, int(port), slash + path)


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return _is_address(host)
    try:
        host.encode("idna")  # as it is looked up; labels of the wrong length raise
    except UnicodeError:
        return False
    return bool(host) and not set(host) & set(":@[]?#%\\")


def _is_address(host: str) -> bool:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return isinstance(address, IPv6Address) == (host.startswith("[") and host.endswith("]"))
