"""What the tests of transports share: certificates, waiting, and what is left behind."""

import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pynng  # type: ignore[import-untyped]  # has no types
import trio
import trustme

from eventgraph.pipes.transport import SocketLimits, Tls

QUICK = SocketLimits(max_message_size=17 << 20, reconnect_min=0.01, reconnect_max=0.1)
Talk = Callable[[trio.SocketStream], Awaitable[None]]
BELOW_EPHEMERAL = (20_000, 32_000)  # ports; Linux gives 32,768 and above to who connects
LIMIT = 10.0  # seconds; far more than anything takes


def tls_of(scheme: str, directory: Path, authority: trustme.CA) -> Tls | None:
    """Certificates, where the scheme needs them."""
    return certificates(directory, authority) if scheme in ("tls+tcp", "wss") else None


def nng_tls(tls: Tls | None, *, listens: bool) -> pynng.TLSConfig | None:
    """The same certificates for a socket of nng's own."""
    if tls is None:
        return None
    return pynng.TLSConfig(
        pynng.TLSConfig.MODE_SERVER if listens else pynng.TLSConfig.MODE_CLIENT,
        server_name=None if listens else "127.0.0.1",
        ca_string=tls.ca.read_text(),
        own_cert_string=tls.certificate.read_text(),
        own_key_string=tls.key.read_text(),
        auth_mode=pynng.TLSConfig.AUTH_MODE_REQUIRED,
    )


def certificates(directory: Path, authority: trustme.CA, host: str = "127.0.0.1") -> Tls:
    """Files of a party that stands for ``host``."""
    directory.mkdir(parents=True, exist_ok=True)
    leaf = authority.issue_cert(host)
    files = Tls(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(files.ca)
    leaf.cert_chain_pems[0].write_to_path(files.certificate)
    leaf.private_key_pem.write_to_path(files.key)
    return files


@asynccontextmanager
async def other_side(*talks: Talk) -> AsyncIterator[int]:
    """A server: one of these for each connection, the last for all further ones. Its port."""
    left = list(talks)

    async def serve(stream: trio.SocketStream) -> None:
        talk = left.pop(0) if len(left) > 1 else left[0]
        with suppress(trio.BrokenResourceError):
            await talk(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def is_cut(stream: trio.SocketStream) -> None:
    """Wait until the other side hangs up, whatever it says."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def until(condition: Callable[[], bool], limit: float = LIMIT) -> None:
    """Wait until it holds."""
    with trio.fail_after(limit):
        while not condition():  # noqa: ASYNC110 - it is of threads that know no trio event
            await trio.sleep(0.002)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that no connection gets by chance."""
    while True:
        port = random.SystemRandom().randrange(*BELOW_EPHEMERAL)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def descriptors() -> int:
    """How many files are open."""
    return len(os.listdir("/proc/self/fd"))


def threads() -> list[str]:
    """The names of all threads, also of those that Python does not know.

    Without those of nng, which tests put at the other end and which stay, and trio's, which stay
    for some seconds.
    """
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if not name.startswith(("nng:", "Trio thread")))


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
