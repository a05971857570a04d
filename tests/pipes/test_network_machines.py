"""Three members on machines of their own, and what becomes of the network of one of them.

Run with -s to see how long it takes until that is noticed, and until all take events again.
"""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio

from .namespaces import Machine, Network, network
from .party_process import PACE
from .processes import PROJECT, Process

KEEPALIVE = 0.9
BOUND = 2 * KEEPALIVE
"""Seconds until silence must have been noticed; a busy machine is not punctual."""
LIMIT = 15.0


class Parties:
    """A sender on the hub, and three members."""

    def __init__(self, sender: Process, members: list[Process]) -> None:
        self.sender = sender
        self.members = members

    async def taken(self) -> list[int]:
        """How many events each member has taken."""
        return [(await member.ask("taken")) for member in self.members]

    async def until_taken(self, *members: int, more: int = 5) -> float:
        """Wait until each of these has taken some more; how long it took (seconds)."""
        began, before = trio.current_time(), await self.taken()
        now = before
        while any(now[member] < before[member] + more for member in members):
            assert trio.current_time() < began + LIMIT
            await trio.sleep(0.01)
            now = await self.taken()
        return trio.current_time() - began

    async def until_sender(self, **wanted: int) -> float:
        """Wait until the pipe has such statistics; how long it took (seconds)."""
        began = trio.current_time()
        while (look := await self.sender.ask("look")) is None or any(
            look[name] != value for name, value in wanted.items()
        ):
            assert trio.current_time() < began + LIMIT, look
            await trio.sleep(0.01)
        return trio.current_time() - began

    async def until_disconnected(self, member: int) -> float:
        """Wait until a member has found out; how long it took (seconds)."""
        began = trio.current_time()
        while (await self.members[member].ask("look"))["state"] == "connected":
            assert trio.current_time() < began + LIMIT
            await trio.sleep(0.01)
        return trio.current_time() - began

    async def sums(self, reliability: str) -> dict[str, Any]:
        """Send no more; all that was sent must have been taken, or counted as lost."""
        counts: dict[str, Any] = (await self.sender.ask("settle"))["counts"]
        assert counts["queued"] == counts["in_flight"] == 0, counts
        taken = Counter[int]()
        for member in self.members:
            taken.update(await member.ask("numbers"))
        dropped = sum(counts["dropped"].values())
        assert counts["offered"] == counts["received"] + counts["lost"] + dropped
        assert len(taken) == counts["received"]
        assert taken.total() == counts["received"] + counts["duplicates"]
        if reliability == "at_least_once":
            assert counts["lost"] == 0
        else:
            assert taken.total() == len(taken)
        return counts


def written(path: Path) -> BinaryIO:
    """A file to write to."""
    return path.open("wb")


@asynccontextmanager
async def parties(net: Network, transport: str, reliability: str) -> AsyncIterator[Parties]:
    """All three members are connected, and take events."""
    with tempfile.TemporaryDirectory() as directory:

        async def start(role: str, machine: Machine) -> Process:
            log = Path(directory, f"{machine.address}.log")
            with written(log) as stderr:
                process = await trio.lowlevel.open_process(
                    machine.python(
                        *("-m", "tests.pipes.party_process", role),
                        *(f"embedded:{directory}/sock", machine.address, transport, reliability),
                        str(KEEPALIVE),
                    ),
                    stdin=-1,
                    stdout=-1,
                    stderr=stderr,
                    cwd=PROJECT,
                )
            return Process(process, log)

        async with AsyncExitStack() as stack:
            started: list[Process] = []
            for role, machine in [("send", net.hub), *(("take", one) for one in net.others)]:
                started.append(await start(role, machine))
                stack.push_async_callback(started[-1].destroy)
            for process in started:
                await process.ask("hello")
            running = Parties(started[0], started[1:])
            await running.until_taken(0, 1, 2)
            yield running
            for process in started:
                await process.end()


@pytest.mark.interop("iproute2")
@pytest.mark.parametrize(
    ("trouble", "transport", "reliability"),
    [
        ("drop", "nng", "at_least_once"),
        ("drop", "nng", "at_most_once"),
        ("drop", "zmq", "at_least_once"),
        ("drop to it", "nng", "at_least_once"),
        ("drop from it", "nng", "at_least_once"),
        ("pull the cable", "nng", "at_least_once"),
        ("pull the cable", "zmq", "at_most_once"),
    ],
)
async def test_member_without_network_is_passed_over_until_it_comes_back(
    trouble: str, transport: str, reliability: str
) -> None:
    with network(machines=3) as net:
        async with parties(net, transport, reliability) as running:
            for one in running.members:
                await one.ask("look")  # gaps count from here
            if trouble == "pull the cable":
                net.pull(0)
            else:
                net.drop(0, to="from" not in trouble, from_="to it" not in trouble)
            sender = await running.until_sender(members=2)
            hung_up = sender + await running.until_sender(connections=2)
            member = hung_up + await running.until_disconnected(0)
            await running.until_taken(1, 2, more=int(0.5 / PACE / 3))
            gap = max([(await one.ask("look"))["gap"] for one in running.members[1:]])
            if trouble == "pull the cable":
                net.plug(0)
            else:
                net.pass_on(0)
            back = await running.until_taken(0)
            await running.until_sender(members=3, connections=3)
            counts = await running.sums(reliability)
            print(
                f"\n{trouble}, {transport} {reliability}: noticed by the sender after {sender:.2f} "
                f"s, cut {hung_up:.2f} s, by the member {member:.2f} s; the others waited "
                f"{gap:.2f} s; back after {back:.2f} s; {counts}"
            )
            assert max(sender, hung_up, member) < BOUND + 0.5
            assert gap < BOUND
            assert back < 2 * KEEPALIVE + 0.5
