"""A provider with four consumers and their server, and ``kill -9`` of any of them."""

import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.flows.client_process import rings
from tests.flows.processes import Process, Realm, goes_on, open_realm, until

SEED = 20_260_706
KILLS = 50
CONSUMERS = 4
BOUND = 15.0  # seconds for the survivors to go on; as a rule it takes a tenth of a second
FREED = 1.0  # seconds for a provider to run again when who had stopped it is dead
OPTIONS = {"slow_consumer": "block", "allow_flow_control": True, "inline": 0, "max_block": 4096}


class Party:
    """The five, by place: 0 is the provider."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self.clients: list[Process] = []
        self.stopper = 0  # the place of the consumer that has stopped the flow; 0: nobody
        self.slowest_start = 0.0

    async def open(self) -> None:
        for place in range(1 + CONSUMERS):
            self.clients.append(await self._start(place))

    async def _start(self, place: int) -> Process:
        client = await self._realm.start("consumer" if place else "provider")
        if place:
            await client.ask("consume", "g/n")
        else:
            await client.ask("provide", "g/n", OPTIONS, 0.002, 1500)
        return client

    @property
    def provider(self) -> Process:
        return self.clients[0]

    async def kill(self, place: int) -> None:
        """The client of that place, or the server; a client is not there again yet."""
        if place <= CONSUMERS:
            await self.clients[place].kill()
        else:
            os.kill(self._realm.server(), signal.SIGKILL)

    async def replace(self, place: int) -> None:
        if place <= CONSUMERS:
            self.clients[place] = await self._start(place)

    async def all_go_on(self, but: int = 0) -> None:
        """All consumers get blocks, except for one that is dead."""
        async with trio.open_nursery() as nursery:
            for place in range(1, 1 + CONSUMERS):
                if place != but:
                    nursery.start_soon(goes_on, self.clients[place], "g/n", BOUND)

    async def is_running(self) -> bool:
        return bool((await self.provider.ask("sent", "g/n"))["running"])


async def killed(party: Party, place: int) -> None:
    """One kill, and what has to be so after it."""
    await party.kill(place)
    dies = place == party.stopper
    stopped = bool(party.stopper) and not dies
    if dies and place:
        party.stopper = 0
        party.slowest_start = max(party.slowest_start, await until(party.is_running, BOUND))
    if place and not stopped:  # while the killed one is missing
        await party.all_go_on(but=place)
    await party.replace(place)
    if stopped:
        assert not await until_settled(party.is_running)
        await party.clients[party.stopper].ask("start", "g/n")
        party.stopper = 0
    await party.all_go_on()


async def until_settled(condition: Callable[[], Awaitable[bool]]) -> bool:
    """What it is after a while."""
    await trio.sleep(0.1)
    return await condition()


async def test_fifty_kills_leave_nobody_hanging_and_nothing_behind(tmp_path: Path) -> None:
    print("seed", SEED)
    rng = random.Random(SEED)
    began = time.monotonic()
    async with open_realm(tmp_path, idle_timeout=1.0) as realm:
        party = Party(realm)
        await party.open()
        await party.all_go_on()
        for _ in range(KILLS):
            if rng.random() < 0.5:
                party.stopper = rng.randint(1, CONSUMERS)
                await party.clients[party.stopper].ask("stop", "g/n")
            # who has stopped it dies more often than chance has it
            dies_stopped = party.stopper and rng.random() < 0.5
            place = party.stopper if dies_stopped else rng.randint(0, CONSUMERS + 1)
            await killed(party, place)
        assert party.slowest_start < FREED
        print(f"{time.monotonic() - began:.1f} s, freed within {party.slowest_start:.3f} s")
        for place, client in enumerate(party.clients):
            state = await client.ask("taken" if place else "sent", "g/n")
            assert state["error"] == ""
            if place:
                assert state["disordered"] == state["missed"] == 0, state
                assert state["sources"] == 1
            assert await client.ask("rings") == 1
        assert (await party.provider.ask("sent", "g/n"))["consumers"] == CONSUMERS
        assert rings(realm.server()) == 1
