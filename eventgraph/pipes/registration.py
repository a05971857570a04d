"""Registration: keeps keys of ours in the registry, whatever happens to them there.

The task of `run` compares what should stand there with what does, each time that one of both
changes, and puts what is missing: after a key was deleted by somebody, after a lease was lost,
after the registry was away, restarted, or lost its data. There is no other path: the first
time is like any other.
"""

import logging
import math
from collections.abc import Callable, Mapping

import trio

from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.errors import LeaseLostError, RegistryError
from eventgraph.pipes.registry import Lease, Registry, View

RETRY_MIN, RETRY_MAX = 0.1, 2.0  # seconds between two tries while the registry is away
REVOKE_TIMEOUT = 1.0  # seconds for giving the lease back at the end

_logger = logging.getLogger(__name__)


class KeyTakenError(Exception):
    """Somebody else has the exclusive key; the owner says what that means."""


class Registration:
    """Keys that are held below one prefix, and a view of all that stands there.

    Args:
        ttl: seconds that the keys outlive this process.
        on_entries: told of all entries below the prefix whenever they change, and once at first.
        on_settled: called once, when all that is wanted stands for the first time.
    """

    def __init__(
        self,
        registry: Registry,
        prefix: str,
        ttl: float,
        on_entries: Callable[[Mapping[str, bytes]], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._prefix = prefix
        self._ttl = ttl
        self._on_entries = on_entries
        self._on_settled = on_settled
        self._alarm = Alarm()
        self._wanted: dict[str, bytes] = {}
        self._exclusive: str | None = None
        self._wait_for_exclusive = False
        self._put: dict[str, bytes] = {}  # under the lease of now
        self._seen: set[str] = set()  # of those, what the view has shown since
        self._lease: Lease | None = None
        self._stands_by = False  # waits for the exclusive key, and has seen the registry
        self._claim_from = 0.0  # when one that stands by may claim it
        self._clock = trio.lowlevel.current_clock().current_time
        self._settled = False
        self.registered = False
        """Whether it does now, as far as is known."""

    def hold(self, key: str, value: bytes) -> None:
        """Keep a key at a value from now on."""
        self._wanted[key] = value
        self._alarm.set()

    def claim(self, key: str, value: bytes, *, wait: bool) -> None:
        """The same for a key that only one may have.

        Args:
            wait: if somebody else has it, wait until it is free; else `run` raises `KeyTakenError`.
                If a lease was lost meanwhile, the registry has forgotten, and not the owner died:
                then the owner has the time to live of its key to come back first.
        """
        self._exclusive, self._wait_for_exclusive = key, wait
        self.hold(key, value)

    def release(self, key: str) -> None:
        """Keep it no longer: it is removed."""
        self._wanted.pop(key, None)
        self._alarm.set()

    async def run(self) -> None:
        """Hold the keys until cancelled; then they are removed, if the registry answers.

        Raises:
            KeyTakenError: somebody else has the exclusive key, or has taken it while ours was lost.
            RegistryUnavailableError, RegistryError: before all stood for the first time, or it
                came to wait for the exclusive key.
        """
        try:
            async with self._registry.watch(self._prefix, self._alarm.set) as view:
                await self._keep(view)
        finally:
            lease, self._lease = self._lease, None
            self.registered = False
            if lease is not None:
                with trio.move_on_after(REVOKE_TIMEOUT, shield=True):
                    await lease.revoke()

    async def _keep(self, view: View) -> None:
        told: Mapping[str, bytes] | None = None
        pause, complaint = RETRY_MIN, ""
        while True:
            if view.entries is not told:
                told = view.entries
                self._on_entries(told)
            try:
                self.registered = await self._reconcile(view)
            except LeaseLostError:
                continue  # with another lease
            except RegistryError as error:
                if not self._settled and not self._stands_by:
                    raise
                if str(error) != complaint:
                    complaint = str(error)
                    _logger.warning("%s: %s; trying again", self._prefix, error)
                self.registered = False
                with trio.move_on_after(pause):
                    await self._alarm.wait()
                await trio.sleep(RETRY_MIN)
                pause = min(2 * pause, RETRY_MAX)
                continue
            pause, complaint = RETRY_MIN, ""
            self._stands_by = self._wait_for_exclusive
            if self.registered and not self._settled:
                self._settled = True
                self._on_settled()
                self._on_entries(view.entries)
            with trio.move_on_at(self._claim_from if self._too_early else math.inf):
                await self._alarm.wait()

    @property
    def _too_early(self) -> bool:
        """Whether the exclusive key may be claimed later, and not now."""
        return self._clock() < self._claim_from

    async def _reconcile(self, view: View) -> bool:
        """Put and remove what is due; whether all stands."""
        lease = await self._have_lease()
        entries = view.entries
        self._forget_what_was_deleted(entries)
        for key in [key for key in self._put if key not in self._wanted]:
            await lease.delete(key)
            self._put.pop(key, None)
            self._seen.discard(key)
        complete = True
        for key, value in list(self._wanted.items()):
            if key == self._exclusive:
                complete = await self._stake_claim(lease, key, value, entries) and complete
                if not complete:
                    return False  # the rest stands only with it
            elif self._put.get(key) != value:
                await lease.put(key, value)
                self._put[key] = value
        return complete

    async def _have_lease(self) -> Lease:
        if self._lease is None or self._lease.lost:
            if self._lease is not None and self._wait_for_exclusive:
                self._claim_from = self._clock() + self._ttl
            self._put.clear()
            self._seen.clear()
            self._lease = await self._registry.grant(self._ttl, self._alarm.set)
        return self._lease

    def _forget_what_was_deleted(self, entries: Mapping[str, bytes]) -> None:
        """What the view has shown, and shows no longer or otherwise, is to be put again."""
        for key, value in list(self._put.items()):
            stands = entries.get(key)
            if stands == value:
                self._seen.add(key)
            elif key in self._seen:
                self._seen.discard(key)
                del self._put[key]

    async def _stake_claim(
        self, lease: Lease, key: str, value: bytes, entries: Mapping[str, bytes]
    ) -> bool:
        if key in self._put:
            return True
        if self._too_early:
            return False
        if await lease.create(key, value):
            self._put[key] = value
            self._wait_for_exclusive = False  # it is the owner from now on
            return True
        # A key of our own that outlives a lost lease goes by itself: the view will tell.
        if entries.get(key) == value or self._wait_for_exclusive or key not in entries:
            return False
        raise KeyTakenError(key)
