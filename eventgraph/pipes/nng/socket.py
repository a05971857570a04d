"""What the four kinds of nng socket share: opening, listening, dialling, certificates, errors.

pynng's own ``asend`` and ``arecv`` start a call of nng for each message, which ends on a thread
of nng's that must get the interpreter's lock to wake the task. The pipeline here rather tries
at once, without blocking, and otherwise waits for nng's file descriptor: less than half of the
cost, no message that leaks when its sender is cancelled, and none that is lost when its
receiver is. It uses ``pynng.lib``, the C interface, for this; ``test_nng.py`` says what of it.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Asker, Pull, Push, SocketLimits
from eventgraph.pipes.url import TLS, WEB, Url


class Certificates(msgspec.Struct, frozen=True):
    """The contents of the files for mutual TLS."""

    ca: str
    certificate: str
    key: str

    def server(self) -> Any:
        """Of a listener; asks whoever dials for a certificate."""
        return self._config(pynng.TLSConfig.MODE_SERVER, None)

    def client(self, host: str) -> Any:
        """Of a dialer; the listener's certificate must be for that host."""
        return self._config(pynng.TLSConfig.MODE_CLIENT, host)

    def _config(self, mode: int, host: str | None) -> Any:
        try:
            return pynng.TLSConfig(
                mode,
                server_name=host,
                ca_string=self.ca,
                own_cert_string=self.certificate,
                own_key_string=self.key,
                auth_mode=pynng.TLSConfig.AUTH_MODE_REQUIRED,
            )
        except pynng.NNGException as error:
            raise TransportError(
                f"{error}: the CA, certificate or key is no PEM, or they do not belong together"
            ) from error


class Closer:
    """Closes the sockets of one transport without blocking.

    A WebSocket lingers for up to 100 ms when its other side does not read, and nng's one thread
    that reaps connections with it. So once there was one, sockets are closed in a thread.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._limiter = trio.CapacityLimiter(1)
        self._lingers = False

    def expect(self, url: Url) -> None:
        """A socket is going to listen or dial there."""
        self._lingers = self._lingers or url.scheme in WEB

    def close(self, socket: Any, *, fd: int | None = None, listener: Any = None) -> None:
        """Close, with an error in whoever waits for ``fd``; the listener's address is free."""
        if fd is not None:
            trio.lowlevel.notify_closing(fd)
        for event in range(pynng.lib.NNG_PIPE_EV_NUM):
            no_more = pynng.ffi.NULL
            pynng.lib.nng_pipe_notify(socket.socket, event, no_more, no_more)
        if self._lingers:
            if listener is not None:
                pynng.lib.nng_listener_close(listener.listener)
            self._nursery.start_soon(self._close_in_thread, socket)
        else:
            socket.close()

    async def _close_in_thread(self, socket: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(socket.close, limiter=self._limiter)


class Means(msgspec.Struct, frozen=True):
    """What the sockets of one transport share."""

    schemes: frozenset[str]
    limits: SocketLimits
    nursery: trio.Nursery
    closer: Closer
    ends: set[Push | Pull | Answerer | Asker]  # that are open
    certificates: Certificates | None = None
    server_context: ssl.SSLContext | None = None  # the same, for what is not nng's own
    client_context: ssl.SSLContext | None = None


@contextmanager
def transport_errors(url: str) -> Iterator[None]:
    """Turns what pynng raises into a TransportError."""
    try:
        yield
    except pynng.AddressInUse as error:
        raise TransportError(f"{url}: the address is in use", in_use=True) from error
    except pynng.NNGException as error:
        raise TransportError(f"{url}: {error}") from error


def open_socket(kind: type, limits: SocketLimits) -> Any:
    """A socket that neither listens nor dials; close it."""
    with transport_errors(kind.__name__):
        return kind(
            recv_max_size=limits.max_message_size,
            reconnect_time_min=round(limits.reconnect_min * 1000),
            reconnect_time_max=round(limits.reconnect_max * 1000),
        )


def listen(socket: Any, url: Url, certificates: Certificates | None) -> tuple[Any, str]:
    """Listen; the listener, and the URL with the port that it got."""
    with transport_errors(str(url)):
        listener = pynng.ffi.new("nng_listener *")
        create = pynng.lib.nng_listener_create
        pynng.check_err(create(listener, socket.socket, str(url).encode()))
        end = pynng.Listener(listener, socket)
        if url.host:
            end.tcp_keepalive = True
        if url.scheme in TLS:
            assert certificates is not None
            end.tls_config = certificates.server()
        pynng.check_err(pynng.lib.nng_listener_start(end.listener, 0))
        if not url.host:
            return end, str(url)
        port = pynng.ffi.new("int *")
        get_int = pynng.lib.nng_listener_get_int
        pynng.check_err(get_int(end.listener, b"tcp-bound-port", port))
        return end, str(msgspec.structs.replace(url, port=port[0]))


class Dialer:
    """Dials in the background, again and again."""

    def __init__(self, end: Any) -> None:
        self._end = end

    def close(self) -> None:
        """Hang up, and dial no more. Idempotent."""
        pynng.lib.nng_dialer_close(self._end.dialer)


def dial(socket: Any, url: Url, certificates: Certificates | None) -> Dialer:
    """Have nng dial."""
    with transport_errors(str(url)):
        dialer = pynng.ffi.new("nng_dialer *")
        create = pynng.lib.nng_dialer_create
        pynng.check_err(create(dialer, socket.socket, str(url).encode()))
        end = pynng.Dialer(dialer, socket)
        if url.host:
            end.tcp_keepalive = True
        if url.scheme in TLS:
            assert certificates is not None
            end.tls_config = certificates.client(url.bare_host)
        start = pynng.lib.nng_dialer_start
        pynng.check_err(start(end.dialer, pynng.lib.NNG_FLAG_NONBLOCK))
        return Dialer(end)


async def wait_for(fd: int) -> None:
    """Wait until nng says on its descriptor that trying again is worthwhile."""
    try:
        await trio.lowlevel.wait_readable(fd)
    except trio.ClosedResourceError:
        raise closed() from None


def closed() -> TransportError:
    """The error of calls on a closed socket."""
    return TransportError("the socket is closed")


def refuse_too_large(size: int, limit: int) -> None:
    """Say who is at fault before the other side cuts the connection."""
    if size > limit:
        raise TransportError(f"a message of {size} bytes; max_message_size is {limit}")
