"""The flows' part of a soak: a provider, consumers, a converter; kills and stops of each."""

import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from eventgraph.flows import FlowClient, open_flows
from eventgraph.flows.server.options import encode_options
from tests.flows.leftovers import processes_about
from tests.flows.processes import Process, Realm, goes_on, open_realm, until
from tests.soak.ledger import Ledger

KEY: Final = "soak/numbers"
OPTIONS: Final = {"slow_consumer": "block", "inline": 0, "max_block": 4096}
TONE: Final = "soak/tone"
WANTED: Final = "AUDIO,rate=16000,channels=1"
TONE_PROGRAM: Final = str(Path(__file__).parents[1] / "flows" / "tone_client.py")
CONSUMERS: Final = 2
STOPPED: Final = 0.7
"""Seconds of a SIGSTOP; less than what a consumer is taken for dead after."""


class FlowPart:
    """One realm, and what happens in it. Made by `open_flow_part`."""

    def __init__(
        self, realm: Realm, ledger: Ledger, rng: random.Random, client: FlowClient
    ) -> None:
        self.provider: Process
        self._realm = realm
        self._ledger = ledger
        self._rng = rng
        self._client = client
        self._consumers: list[Process] = []
        self._heard = 0
        self._tag = str(realm.base)

    async def start(self) -> None:
        """All are connected when this returns."""
        self.provider = await self._realm.start("provider")
        await self.provider.ask("provide", KEY, OPTIONS, 0.01, 1500)
        for _ in range(CONSUMERS):
            self._consumers.append(await self._consume())

    async def _consume(self) -> Process:
        consumer = await self._realm.start("consumer")
        await consumer.ask("consume", KEY)
        return consumer

    async def listen(self) -> None:
        """Hear the tone through a converter; until cancelled."""
        consumer = await self._client.consume(TONE, WANTED)
        async for block in consumer:
            with block:
                self._heard += 1

    async def disturb(self, seconds: float) -> None:
        """A fault after the other for so long; all go on after each."""
        faults = [
            self._kill_consumer,
            self._stop_consumer,
            self._kill_server,
            self._kill_converter,
        ]
        self._rng.shuffle(faults)
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            fault = faults.pop(0)
            faults.append(fault)
            await fault()
            await self._check_all_go_on(fault.__name__)
            await trio.sleep(self._rng.uniform(0.2, 1))

    async def _check_all_go_on(self, after: str) -> None:
        complaint = None
        try:
            for consumer in self._consumers:
                await goes_on(consumer, KEY)
            heard = self._heard

            async def hears() -> bool:
                await trio.lowlevel.checkpoint()
                return self._heard > heard

            await until(hears)
        except trio.TooSlowError:
            complaint = f"somebody does not, after {after}"
        self._ledger.check("flows go on", complaint)

    async def _kill_consumer(self) -> None:
        place = self._rng.randrange(CONSUMERS)
        await self._settle(self._consumers[place])
        await self._consumers[place].kill()
        self._ledger.faults["flow consumer: kill -9"] += 1
        self._consumers[place] = await self._consume()

    async def _stop_consumer(self) -> None:
        consumer = self._rng.choice(self._consumers)
        consumer.signal(signal.SIGSTOP)
        await trio.sleep(STOPPED)
        consumer.signal(signal.SIGCONT)
        self._ledger.faults["flow consumer: SIGSTOP"] += 1

    async def _kill_server(self) -> None:
        await until(self._is_served)  # flows go on without one, until the next is up
        with suppress(ProcessLookupError):
            os.kill(self._realm.server(), signal.SIGKILL)
            self._ledger.faults["flow server: kill -9"] += 1
        await trio.sleep(0.1)

    async def _is_served(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self._realm.directory.server_pid() is not None

    async def _kill_converter(self) -> None:
        for pid in processes_about("eventgraph.flows.conversion"):
            if _is_about(pid, self._tag):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self._ledger.faults["flow converter: kill -9"] += 1
        await trio.sleep(0.1)

    async def _settle(self, consumer: Process) -> None:
        """Enter what a consumer has taken: it had all, in order, but for what it was told of."""
        state = await consumer.ask("taken", KEY)
        self._ledger.load["blocks taken from flows"] += state["count"]
        self._ledger.same("blocks of a flow in order", state["disordered"], 0)
        self._ledger.same("blocks of a flow missed", state["missed"], 0)
        error = state["error"]
        self._ledger.check("consumers go on", f"one ended by {error}" if error else None)

    async def end(self) -> None:
        """Account for all."""
        state = await self.provider.ask("sent", KEY)
        self._ledger.load["blocks provided to flows"] += state["count"]
        for consumer in self._consumers:
            await self._settle(consumer)
        self._ledger.load["blocks of converted sound"] += self._heard


async def _kill(process: trio.Process) -> None:
    process.kill()
    await process.wait()


def _is_about(pid: int, tag: str) -> bool:
    """Whether a process is of our realm: its command line or its environment names it."""
    for name in ("cmdline", "environ"):
        try:
            if tag.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
        except OSError:
            return False
    return False


@asynccontextmanager
async def open_flow_part(
    directory: Path, ledger: Ledger, rng: random.Random
) -> AsyncIterator[FlowPart]:
    """Flows; at the end all leave in order, and nothing may be left of them."""
    async with AsyncExitStack() as stack:
        realm = await stack.enter_async_context(
            open_realm(directory, keepalive=3.0, idle_timeout=2.0, application="soak")
        )
        command = [TONE_PROGRAM, "tone", TONE, "48000", encode_options(realm.options)]
        tone = await trio.lowlevel.open_process([sys.executable, *command])
        stack.push_async_callback(_kill, tone)
        client = await stack.enter_async_context(open_flows(realm.options, name="listener"))
        part = FlowPart(realm, ledger, rng, client)
        nursery = await stack.enter_async_context(trio.open_nursery())
        await part.start()
        nursery.start_soon(part.listen)
        yield part
        await part.end()
        nursery.cancel_scope.cancel()
