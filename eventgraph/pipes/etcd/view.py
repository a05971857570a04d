"""EtcdView: reads what stands below a prefix, and follows it; after any failure again.

The resumption that etcd offers (a watch from the revision that was last seen) is not used: on
a server whose data was wiped it stays silent for ever.
"""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import trio

from eventgraph.pipes.errors import RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.messages import WATCH, WatchLine, key_of, watch_from
from eventgraph.pipes.etcd.read import Entries, read_entries
from eventgraph.pipes.etcd.refusal import CompactedError, no_etcd, refusal
from eventgraph.pipes.registry import View

PAUSE_MIN: Final = 0.05
PAUSE_MAX: Final = 2.0
"""Seconds between two tries, doubled from the first up to the last; half of it is random."""

STEADY: Final = 1.0
"""Seconds after which a watch that ends has been a good one: the pauses begin anew."""


class EtcdView(View):
    """Args: on_change: called from the task that runs `follow`."""

    def __init__(self, gateway: Gateway, prefix: str, on_change: Callable[[], None]) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._on_change = on_change
        self._seen = Entries(prefix)
        self._entries: Mapping[str, bytes] = MappingProxyType({})
        self._live = False
        self._scope = trio.CancelScope()
        self._over = trio.Event()

    @property
    def entries(self) -> Mapping[str, bytes]:
        return self._entries

    @property
    def live(self) -> bool:
        return self._live

    @property
    def key(self) -> bytes:
        """A key that who reads the view may read."""
        return key_of(self._prefix) or b"\0"

    async def read(self) -> None:
        """Take over what stands there now. Raises as `Registry.read`."""
        self._seen = await read_entries(self._gateway, self._prefix)
        self._publish(True)

    async def follow(self) -> None:
        """Keep it up to date, from the first `read` on, until `stop`."""
        try:
            with self._scope:
                pause = PAUSE_MIN
                while True:
                    since = trio.current_time()
                    try:
                        if not self._live:
                            await self.read()
                            self._tell()
                        await self._watch()
                    except RegistryError:
                        pass  # said by ``live``; what it was, the next call will raise
                    if self._live:
                        self._live = False
                        self._tell()
                    if trio.current_time() - since > STEADY + self._gateway.timeout:
                        pause = PAUSE_MIN
                    await trio.sleep(pause * random.uniform(0.5, 1))
                    pause = min(2 * pause, PAUSE_MAX)
        finally:
            self._over.set()

    async def stop(self) -> None:
        """End `follow`, and wait for that."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._over.wait()

    async def _watch(self) -> None:
        request = watch_from(self.key if self._prefix else b"", self._seen.revision + 1)
        doing = f"watch {self._prefix!r}"
        await self._gateway.stream(WATCH, request, doing, self._take)

    def _take(self, line: WatchLine) -> None:
        answer = line.result
        if answer is None:
            raise no_etcd(self._gateway.url, "a line without a result")
        if answer.canceled:
            if answer.compact_revision:
                raise CompactedError
            reason = answer.cancel_reason or "no reason given"
            raise refusal(200, reason, self._gateway.url, f"watch {self._prefix!r}")
        if answer.created and answer.header.revision < self._seen.revision:
            raise RegistryUnavailableError("it has other data than it had")
        if answer.events:
            self._seen.apply(answer.events)
            if not answer.fragment:
                self._publish(True)
                self._tell()

    def _publish(self, live: bool) -> None:
        self._entries = MappingProxyType(dict(self._seen.values))
        self._live = live

    def _tell(self) -> None:
        if not self._scope.cancel_called:
            self._on_change()
