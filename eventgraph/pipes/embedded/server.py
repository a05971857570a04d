"""The embedded registry's server: a store that is served on a unix socket."""

from collections import Counter
from typing import Final

import trio

from eventgraph.pipes.embedded.inheritance import keep_from_children
from eventgraph.pipes.embedded.session import Session
from eventgraph.pipes.embedded.store import Store

SILENCE: Final = 15.0
"""Seconds without a request after which a client is cut off; it pings every few seconds.

So the keys of a process that was stopped, or that a fork keeps half alive, vanish as well.
"""

MAX_SESSIONS: Final = 256
"""One for each process: below the 1,024 descriptors that a process usually may have."""


class EmbeddedServer:
    """Serves a store.

    Attributes:
        sessions: how many clients are connected.
        ended: how many no longer are, by reason: "gone", "silent", "slow" (took nothing that was
            sent to it), "garbage", or "full" (there were too many of them).
    """

    def __init__(self, store: Store, *, silence: float = SILENCE) -> None:
        self.sessions = 0
        self.ended: Counter[str] = Counter()
        self._store = store
        self._silence = silence

    async def serve(self, listener: trio.SocketListener) -> None:
        """Until cancelled; then all connections are cut, and their leases end."""
        await trio.serve_listeners(self._serve_one, [listener])

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        if self.sessions >= MAX_SESSIONS:
            self.ended["full"] += 1
            await trio.aclose_forcefully(stream)
            return
        keep_from_children(stream.socket)
        self.sessions += 1
        try:
            self.ended[await Session(self._store, stream, self._silence).run()] += 1
        finally:
            self.sessions -= 1
