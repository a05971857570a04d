"""Connections of an nng socket, which nng's own threads tell of."""

import contextlib
from collections.abc import Callable
from typing import Any

import trio


class Connections:
    """Which stand, told in the trio thread.

    nng may say that a connection is gone before it has said that it stands: the first word on
    each, that it is opening, is what the others are held against.
    """

    def __init__(self, socket: Any, on_change: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._on_change = on_change
        self._opening: set[int] = set()
        self._standing: set[int] = set()
        self._closed = False
        # pynng holds a lock around each of these.
        socket.add_pre_pipe_connect_cb(self._opens)
        socket.add_post_pipe_connect_cb(self._stands)
        socket.add_post_pipe_remove_cb(self._is_gone)

    def __len__(self) -> int:
        return len(self._standing)

    def close(self) -> None:
        """Say no more."""
        self._closed = True
        self._standing.clear()

    # On threads of nng's

    def _opens(self, pipe: Any) -> None:
        self._opening.add(pipe.id)

    def _stands(self, pipe: Any) -> None:
        if pipe.id in self._opening:
            self._opening.discard(pipe.id)
            self._standing.add(pipe.id)
            self._wake()

    def _is_gone(self, pipe: Any) -> None:
        self._opening.discard(pipe.id)
        if pipe.id in self._standing:
            self._standing.discard(pipe.id)
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._tell, idempotent=True)

    # In the trio thread

    def _tell(self) -> None:
        if not self._closed:
            self._on_change()
