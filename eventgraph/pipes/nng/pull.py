"""The pull end of the nng transport."""

from collections.abc import Callable

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import trio

from eventgraph.pipes.nng.bind import abstract_name
from eventgraph.pipes.nng.bridge import Bridge
from eventgraph.pipes.nng.connections import Connections
from eventgraph.pipes.nng.socket import (
    Dialer,
    Means,
    closed,
    dial,
    open_socket,
    wait_for,
)
from eventgraph.pipes.transport import Pull
from eventgraph.pipes.url import TLS, WEB, Url, dial_url

_ffi, _lib = pynng.ffi, pynng.lib
_AGAIN: int = _lib.NNG_EAGAIN
_NONBLOCK: int = _lib.NNG_FLAG_NONBLOCK


class NngPull(Pull):
    """Each connection reads one message ahead; cancelling `receive` loses none.

    One task receives at a time: a second one gets trio.BusyResourceError.
    """

    def __init__(self, means: Means, on_change: Callable[[], None]) -> None:
        self._means = means
        self._closed = False
        self._socket = open_socket(pynng.Pull0, means.limits)
        self._id = self._socket.socket
        self._fd: int = self._socket.recv_fd
        self._connections = Connections(self._socket, on_change)
        self._dialled: dict[str, Dialer | Bridge] = {}
        self._out = _ffi.new("nng_msg **")

    def dial(self, url: str) -> None:
        if self._closed:
            raise closed()
        if url in self._dialled:
            return
        target = dial_url(url, self._means.schemes)
        if target.scheme in TLS | WEB:
            self._dialled[url] = Bridge(target, self._means, self._have_nng_dial)
        else:
            self._dialled[url] = self._have_nng_dial(target)

    def _have_nng_dial(self, target: Url) -> Dialer:
        if target.scheme == "inproc":  # see `push` for why it is not nng's own
            name = abstract_name(target.path)
            target = msgspec.structs.replace(target, scheme="abstract", path=name)
        return dial(self._socket, target, None)

    def hang_up(self, url: str) -> None:
        if (dialled := self._dialled.pop(url, None)) is not None:
            dialled.close()

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def receive(self) -> memoryview:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise closed()
        waited = False
        while result := _lib.nng_recvmsg(self._id, self._out, _NONBLOCK):
            if result != _AGAIN:
                raise closed()
            await wait_for(self._fd)
            waited = True
        view = _view(self._out[0])
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return view

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._connections.close()
            for dialled in self._dialled.values():
                dialled.close()
            self._means.closer.close(self._socket, fd=self._fd)


def _view(message: object) -> memoryview:
    """A message's body; the message is freed with the last view on it."""
    size: int = _lib.nng_msg_len(message)
    body = _ffi.cast("char *", _lib.nng_msg_body(message))
    owner = _ffi.gc(body, lambda _: _lib.nng_msg_free(message), size)
    return memoryview(_ffi.buffer(owner, size)).toreadonly()
