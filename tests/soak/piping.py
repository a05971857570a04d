"""The pipes' part of a soak: a sender and two members by etcd; kills and stops of each but one.

``once`` delivers at most once, ``all`` at least once. The sender stays, for it has the accounts.
"""

import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from tests.pipes.etcd_server import EtcdServer, running_etcd
from tests.pipes.processes import Process, Processes, open_processes, witnessed
from tests.soak.ledger import Ledger

RELIABILITY: Final = {"once": "at_most_once", "all": "at_least_once"}
GROUP: Final = "soakers"
MEMBERS: Final = 2
RATE: Final = 100.0
"""Events a second to each destination."""
STOPPED: Final = 0.7
"""Seconds of a SIGSTOP; less than what a member is taken for dead after."""
PATIENCE: Final = 30.0


class PipePart:
    """Made by `open_pipe_part`."""

    def __init__(
        self, processes: Processes, etcd: EtcdServer, ledger: Ledger, rng: random.Random
    ) -> None:
        self.sender: Process
        self._processes = processes
        self._etcd = etcd
        self._ledger = ledger
        self._rng = rng
        self._members: list[Process] = []

    async def start(self) -> None:
        """Events flow when this returns."""
        self.sender = await self._processes.start("sender")
        for name, reliability in RELIABILITY.items():
            await self.sender.ask("register", name, {"reliability": reliability})
        for _ in range(MEMBERS):
            self._members.append(await self._join())
        for name in RELIABILITY:
            await self.sender.ask("wait_for_members", name, GROUP, MEMBERS)
            await self.sender.ask("send", name, RATE)

    async def _join(self) -> Process:
        member = await self._processes.start("member")
        for name in RELIABILITY:
            await member.ask("join", name, GROUP, 0.0)
            await member.ask("wait_connected", name, GROUP)
        return member

    async def disturb(self, seconds: float) -> None:
        """A fault after the other for so long; events go on after each."""
        faults = [self._kill_member, self._stop_member, self._kill_etcd, self._stop_etcd]
        self._rng.shuffle(faults)
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            fault = faults.pop(0)
            faults.append(fault)
            await fault()
            await self._check_all_go_on(fault.__name__)
            await trio.sleep(self._rng.uniform(0.2, 1))

    async def _check_all_go_on(self, after: str) -> None:
        complaint = f"not after {after}"
        before = await self._received()
        with trio.move_on_after(PATIENCE):
            while True:
                now = await self._received()
                if all(now[name] > before[name] for name in RELIABILITY):
                    complaint = ""
                    break
                await trio.sleep(0.05)
        self._ledger.check("pipes go on", complaint or None)

    async def _received(self) -> dict[str, int]:
        return {name: (await self._counts(name))["received"] for name in RELIABILITY}

    async def _counts(self, name: str) -> dict[str, Any]:
        """Of all pipes to the group that there have been, as sums."""
        pipes = (await self.sender.ask("pipes", name))[GROUP]
        total: dict[str, Any] = {}
        for pipe in pipes:
            for key, count in pipe["counts"].items():
                number = sum(count.values()) if isinstance(count, dict) else count
                total[key] = total.get(key, 0) + number
        return total

    async def _kill_member(self) -> None:
        victim = self._members.pop(self._rng.randrange(MEMBERS))
        await victim.kill()
        self._ledger.faults["pipe member: kill -9"] += 1
        self._members.append(await self._join())

    async def _stop_member(self) -> None:
        member = self._rng.choice(self._members)
        member.signal(signal.SIGSTOP)
        await trio.sleep(STOPPED)
        member.signal(signal.SIGCONT)
        self._ledger.faults["pipe member: SIGSTOP"] += 1

    async def _kill_etcd(self) -> None:
        self._etcd.kill()
        await trio.sleep(0.5)
        await trio.to_thread.run_sync(self._etcd.start)
        self._ledger.faults["etcd: kill -9"] += 1

    async def _stop_etcd(self) -> None:
        self._etcd.stop()
        await trio.sleep(STOPPED)
        self._etcd.proceed()
        self._ledger.faults["etcd: SIGSTOP"] += 1

    async def end(self) -> None:
        """Account for each event."""
        sent = {name: await self.sender.ask("stop", name) for name in RELIABILITY}
        for name, offered in sent.items():
            settled = await self.sender.ask("settle", name, PATIENCE)
            self._ledger.check("pipes come to rest", None if settled else f"{name} does not")
            counts = await self._counts(name)
            self._account(name, offered, counts)
        for member in self._members:
            await member.end()
        await self.sender.end()

    def _account(self, name: str, offered: int, counts: dict[str, Any]) -> None:
        ledger, seen = self._ledger, witnessed(self._processes.directory, name, GROUP)
        handed, distinct = sum(seen), sum(map(bool, seen))
        ledger.load["events sent through pipes"] += offered
        ledger.load["events handed over by pipes"] += handed
        ledger.explained["by a pipe at most once, and told"] += counts["lost"]
        ledger.same(f"{name}: sent, and offered", offered, counts["offered"])
        accounted = counts["received"] + counts["lost"] + counts["dropped"]
        ledger.same(f"{name}: offered, and received, lost or dropped", offered, accounted)
        if name == "all":
            ledger.same("all: sent, and handed over", offered, distinct)
        else:
            ledger.same("once: handed over more than once", handed, distinct)
            too_few = max(0, counts["received"] - handed)
            ledger.same("once: received, and handed over", too_few, 0)
        ledger.load["events of pipes sent again"] += counts["redelivered"]


@asynccontextmanager
async def open_pipe_part(
    directory: Path, ledger: Ledger, rng: random.Random
) -> AsyncIterator[PipePart]:
    """Pipes; at the end all leave in order."""
    with running_etcd() as etcd:
        async with open_processes(directory, etcd.url, keepalive=3.0) as processes:
            part = PipePart(processes, etcd, ledger, rng)
            await part.start()
            yield part
            await part.end()
