"""Connections of a zmq socket, which it tells of on another socket."""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import trio
import zmq
from zmq.utils.monitor import parse_monitor_message

from eventgraph.pipes.zmq.socket import close_socket

_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Connections:
    """Which stand, by the URL that was listened on or dialled.

    The end of a connection is told whether it stood or not. If it did not, the failure of its
    handshake has been told just before.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], nursery: trio.Nursery, on_change: Callable[[], None]
    ) -> None:
        self._socket = socket
        self._on_change = on_change
        self._standing: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._scope = trio.CancelScope(shield=True)  # `close` ends it, nothing else
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILED
        self._monitor: zmq.Socket[bytes] = socket.get_monitor_socket(events)
        self._fd = cast(int, self._monitor.get(zmq.FD))
        nursery.start_soon(self._run)

    def __len__(self) -> int:
        return self._standing.total()

    def forget(self, url: str) -> None:
        """We hung up ourselves, of which zmq tells nothing."""
        if self._standing.pop(url, 0):
            trio.lowlevel.current_trio_token().run_sync_soon(self._on_change)

    def close(self) -> None:
        """Say no more; before the socket is closed."""
        self._scope.cancel()
        self._standing.clear()
        self._socket.disable_monitor()
        close_socket(self._monitor, self._fd)

    async def _run(self) -> None:
        with self._scope:
            await trio.lowlevel.checkpoint_if_cancelled()  # closed before this task ever ran
            while not self._scope.cancel_called:
                try:
                    message = self._monitor.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    if not cast(int, self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
                        await trio.lowlevel.wait_readable(self._fd)
                else:
                    if self._hear(parse_monitor_message(message)):
                        self._on_change()
                    await trio.lowlevel.checkpoint()

    def _hear(self, told: Any) -> bool:
        """Count; whether `connections` has changed."""
        url, event = told["endpoint"].decode(), told["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._standing[url] += 1
        elif event & _FAILED:
            self._failed[url] += 1
            return False
        elif self._failed[url]:
            self._failed[url] -= 1
            return False
        elif self._standing[url]:
            self._standing[url] -= 1
        return True
