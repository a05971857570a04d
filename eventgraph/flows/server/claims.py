"""Claims: which provider of a key counts on all machines.

A server that has the best provider it knows of claims the key: it creates the claim with the
next generation. Only one server can (compare and swap); who comes too late sees a better claim,
or a worse one, which it tops in turn. Everything follows from what stands in the registry, so it
does not matter what was missed while that was away.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

import trio

from eventgraph.flows.key import FlowKey
from eventgraph.flows.server.broker import Broker, Claim
from eventgraph.flows.server.records import (
    ClaimRecord,
    ServerRecord,
    claim_key,
    encode_record,
    read_claims,
    read_servers,
    server_key,
)
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.errors import LeaseLostError, RegistryError
from eventgraph.pipes.registry import Lease, Registry, View

RETRY_MIN, RETRY_MAX = 0.1, 2.0  # seconds between two tries while the registry is away
PATIENCE: Final = 1.0  # seconds of failures until nobody needs to wait for it
REVOKE_TIMEOUT: Final = 1.0  # seconds for giving the lease back at the end

_logger = logging.getLogger(__name__)


class Claims:
    """Keeps what one server says in the registry true, and tells what the others say.

    Args:
        describe: the claim for a provider of this machine, by flow.
        on_change: called when servers or claims have changed.
        tell: told why the registry is of no use, and with an empty text that it is again.
    """

    def __init__(
        self,
        registry: Registry,
        base: str,
        server: ServerRecord,
        broker: Broker,
        ttl: float,
        *,
        describe: Callable[[str], ClaimRecord],
        on_change: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self.servers: dict[str, ServerRecord] = {}
        """The others, by id."""
        self.standing: dict[FlowKey, ClaimRecord] = {}
        """The claim that counts, by key."""
        self._latest = 0  # of all that was claimed, when the last provider was started
        self._registry = registry
        self._base = base
        self._server = server
        self._broker = broker
        self._ttl = ttl
        self._describe = describe
        self._on_change = on_change
        self._tell = tell
        self._alarm = Alarm()
        self._lease: Lease | None = None
        self._ready = trio.Event()

    def look(self, _key: FlowKey) -> None:
        """Something has changed here."""
        self._alarm.set()

    def rank_for(self, started: int) -> int:
        """When a new provider counts as started: after all that stand, and that stood.

        Clocks of machines differ, and are set back; the one that comes later must not look older
        than any that was claimed while this server has been here, for that may come back.
        """
        return max(started, self._latest + 1)

    async def wait_ready(self) -> None:
        """Until this server stands in the registry, or that has failed for some time."""
        await self._ready.wait()

    async def run(self) -> None:
        """Hold what is to stand there, until cancelled; then it is removed."""
        try:
            await self._follow()
        finally:
            lease, self._lease = self._lease, None
            if lease is not None:
                with trio.move_on_after(REVOKE_TIMEOUT, shield=True):
                    await lease.revoke()

    async def _follow(self) -> None:
        pause, complaint = RETRY_MIN, ""
        began = trio.current_time()
        while True:
            try:
                async with self._registry.watch(self._base + "/", self._alarm.set) as view:
                    while True:
                        self._read(view.entries)
                        await self._reconcile(view)
                        pause, complaint = RETRY_MIN, ""
                        self._ready.set()
                        self._tell("" if view.live else f"{self._registry.url} is silent")
                        await self._alarm.wait()
            except LeaseLostError:
                continue
            except RegistryError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    _logger.warning("other machines cannot be found: %s; trying again", error)
                    self._tell(complaint)
                if trio.current_time() - began > PATIENCE:
                    self._ready.set()
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_MAX)

    def _read(self, entries: Mapping[str, bytes]) -> None:
        """Take in what stands there."""
        servers = read_servers(self._base, entries)
        servers.pop(self._server.id, None)
        claims = {key: found[-1][1] for key, found in read_claims(self._base, entries).items()}
        self.servers, before, self.standing = servers, self.standing, claims
        self._latest = max([self._latest, *(record.started for record in claims.values())])
        for key in {**before, **claims}:
            record = claims.get(key)
            if record is None or record.server == self._server.id:
                self._broker.claimed(key, None)
            else:
                self._broker.claimed(key, Claim(record.flow, record.rank))
        self._on_change()

    async def _reconcile(self, view: View) -> None:
        """Put and remove what is due."""
        if self._lease is None or self._lease.lost:
            self._lease = await self._registry.grant(self._ttl, self._alarm.set)
        lease, entries = self._lease, view.entries
        key, value = server_key(self._base, self._server), encode_record(self._server)
        if entries.get(key) != value:
            await lease.put(key, value)
        claims = read_claims(self._base, entries)
        for flow_key in {*claims, *self._broker.streams}:
            await self._settle(lease, flow_key, claims.get(flow_key, []))

    async def _settle(
        self, lease: Lease, key: FlowKey, claims: list[tuple[int, ClaimRecord]]
    ) -> None:
        """Claim one key if it is ours, and take back what we said before."""
        stream = self._broker.streams.get(key)
        contender = stream.contender if stream is not None else None
        highest = claims[-1] if claims else None
        if contender is not None and (
            highest is None
            or (highest[1].flow != contender.id and contender.rank > highest[1].rank)
            or (highest[1].server == self._server.id and highest[1].flow != contender.id)
        ):
            generation = highest[0] + 1 if highest is not None else 1
            value = encode_record(self._describe(contender.id))
            if not await lease.create(claim_key(self._base, key, generation), value):
                return  # somebody was quicker: the view will say
        for generation, record in claims:
            ours = record.server == self._server.id
            if ours and (contender is None or record.flow != contender.id):
                await lease.delete(claim_key(self._base, key, generation))
