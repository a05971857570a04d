"""The server's part of a soak: calls, a room, recorders, streams; crashes, joins, leaves, kills."""

import random
import wave
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from eventgraph import Address, GraphSnapshot
from eventgraph.counts import Counts
from rtp.server.footprint import Footprint
from tests.soak.bad_inputs import send_bad_datagrams, send_bad_request, send_noise_as_http
from tests.soak.caller import EchoCall, PartyCall
from tests.soak.ledger import Ledger
from tests.soak.nodes import FEEDS, STREAM, VIEWERS
from tests.soak.server import Server, kernel_drops

CALLS: Final = 3
PARTIES: Final = {"ann": 500, "bob": 900, "cid": 1300}
LOUD: Final = -25.0
"""dB; a tone that is there is at about -12, and one that is not far below -40."""
SETTLED: Final = 0.15
"""Seconds after the last packet until all that is on its way has arrived, as a rule."""
FIRST: Final = 0.5
"""Seconds until everybody has been heard, on a busy machine too."""
PATIENCE: Final = 20.0
"""Seconds until it must have, and a node that crashed must run again, which waits for 5 s at the
most: on a busy machine the server stands still for seconds."""
LOSS: Final = 0.02
JITTER: Final = 0.03  # seconds


class ServerPart:
    """A server in its lives, and who calls it."""

    def __init__(self, directory: Path, ledger: Ledger, rng: random.Random) -> None:
        self.server = Server(directory, CALLS)
        self._ledger = ledger
        self._rng = rng
        self._echoes = [EchoCall(n, loss=LOSS, jitter=JITTER * (n % 2)) for n in range(CALLS)]
        self._parties: list[PartyCall] = []
        self._accounts: dict[str, Account] = {}
        self._quiet = False
        self._extra = False
        self._auditing = trio.Lock()

    async def run_callers(self) -> None:
        """Those who call through all lives of the server; until cancelled."""
        async with trio.open_nursery() as nursery:
            for call in self._echoes:
                nursery.start_soon(call.run)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """A server that is up, with its calls; at the end it is killed, whatever goes on."""
        await self.server.start()
        async with trio.open_nursery() as nursery:
            await self._begin(nursery)
            yield
            nursery.cancel_scope.cancel()
        await self.server.kill()
        self._ledger.faults["server: kill -9"] += 1
        self._die()

    async def last_life(self, nursery: trio.Nursery) -> None:
        """The same without an end."""
        await self.server.start()
        await self._begin(nursery)

    async def _begin(self, nursery: trio.Nursery) -> None:
        for call in self._echoes:
            call.caller.paused = True
        await trio.sleep(2 * JITTER + SETTLED)
        for call in self._echoes:
            account = self._accounts.setdefault(call.scope, Account(call))
            account.miss(self._ledger)
        await self._compose()
        for call in self._echoes:
            await self.server.link((call.scope, "source"), (call.scope, "fragile"))
            await self.server.link((call.scope, "fragile"), (call.scope, "sink"))
            self._accounts[call.scope].begin()
            call.caller.paused = False
        self._parties = []
        for name, frequency in PARTIES.items():
            party = PartyCall("lobby", name, frequency)
            nursery.start_soon(party.caller.run)
            status = await party.join(self.server)
            self._ledger.check("joins", None if status == 201 else f"{name} got {status}")
            party.caller.paused = False
            self._parties.append(party)
        # The first packet decides whose a session is: it must not be one of a stranger.
        await trio.sleep(FIRST)

    async def _compose(self) -> None:
        texts = [call.text(self.server.lives) for call in self._echoes]
        if self._extra:
            texts.append("[tone@extra:tone_source frequency=300] -> [meter@extra:level_meter]")
        await self.server.compose(";\n".join(texts))

    def _die(self) -> None:
        for account in self._accounts.values():
            account.die(self._ledger)
        for party in self._parties:
            self._ledger.load["RTP packets said in rooms"] += party.caller.sent
            self._ledger.load["RTP packets heard in rooms"] += party.caller.received

    async def disturb(self, seconds: float) -> None:
        """Do everything to it for so long; then all is quiet again."""
        self._quiet = False
        tasks: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self._crash, 0.5),
            (self._change_rule, 0.4),
            (self._change_composition, 1.5),
            (self._join_and_leave, 0.3),
            (self._send_bad_datagrams, 0.2),
            (self._send_bad_request, 0.2),
            (self._send_noise_as_http, 1.0),
            (self._look, 1.0),
            (self._listen, 1.5),
            (self._audit, 4.0),
        ]
        async with trio.open_nursery() as nursery:
            for task, pause in tasks:
                nursery.start_soon(self._repeat, task, pause)
            await trio.sleep(seconds)
            self._quiet = True
        self._extra = False
        await self._compose()
        await self._audit()

    async def _repeat(self, task: Callable[[], Awaitable[None]], pause: float) -> None:
        while not self._quiet:
            await task()
            await trio.sleep(self._rng.uniform(0.5, 1.5) * pause)

    # Faults

    async def _crash(self) -> None:
        call = self._rng.choice(self._echoes)
        call.caller.crashes_due += 1
        await trio.lowlevel.checkpoint()

    async def _change_rule(self) -> None:
        feeds = self._rng.sample(FEEDS, self._rng.randint(0, len(FEEDS)))
        response = await self.server.http.put(f"/rules/{STREAM}", json={"feeds": feeds})
        self._ledger.faults["rule of a stream changed"] += 1
        graph = await self.server.graph()
        wanted = {
            (Address("feeds", feed), Address("viewers", str(number)))
            for feed in feeds
            for number in range(VIEWERS)
        }
        found = {
            (link.sender, link.receiver)
            for link in graph.links
            if link.up and link.sender.scope == "feeds"
        }
        right = response.is_success and found == wanted
        complaint = f"{response.status_code}, {len(found)} links and not {len(wanted)}"
        self._ledger.check("links follow the rule", None if right else complaint)

    async def _change_composition(self) -> None:
        self._extra = not self._extra
        await self._compose()
        self._ledger.faults["composition changed"] += 1

    async def _join_and_leave(self) -> None:
        party = PartyCall(self._rng.choice(("lobby", "attic")), "guest", 700)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(party.caller.run)
            status = await party.join(self.server)
            if status == 201:
                party.caller.paused = False
                await trio.sleep(self._rng.uniform(0, 1))
                party.caller.paused = True
                await self._check_party(party)
                status = await party.leave(self.server)
                self._ledger.faults["joined and left a room"] += 1
                self._ledger.load["RTP packets said in rooms"] += party.caller.sent
                self._ledger.load["RTP packets heard in rooms"] += party.caller.received
            complaint = None if status == 200 else f"a guest got {status}"
            self._ledger.check("joins and leaves", complaint)
            nursery.cancel_scope.cancel()

    async def _send_bad_datagrams(self) -> None:
        ports = [call.port for call in self._echoes] + [party.port for party in self._parties]
        await send_bad_datagrams(ports, self._rng, self._ledger)

    async def _send_bad_request(self) -> None:
        await send_bad_request(self.server, self._rng, self._ledger)

    async def _send_noise_as_http(self) -> None:
        await send_noise_as_http(self.server, self._rng, self._ledger)

    # Checks

    async def _look(self) -> None:
        """The sums of all links and nodes, while everything goes on."""
        graph = await self.server.graph()
        counts = {f"{link.sender} > {link.receiver}": link.counts for link in graph.links}
        counts |= {f"{node.address} to itself": node.to_self for node in graph.nodes}
        counts |= {f"threads to {node.address}": node.from_threads for node in graph.nodes}
        counts["all that ever was"] = graph.totals
        for where, each in counts.items():
            self._same(f"sums of {where}", each.offered, _sum(each))

    async def _listen(self) -> None:
        """Everybody in the room hears the others, and echo callers themselves."""
        async with self._auditing:  # or they are silent
            for party in self._parties:
                party.caller.forget()
            for call in self._echoes:
                call.caller.forget()
            await trio.sleep(1.3)
        for party in self._parties:
            others = [f for f in PARTIES.values() if f != party.caller.frequency]
            heard = party.caller.hears(others)
            if heard:
                quiet = [f"{f} Hz at {level:.0f} dB" for f, level in heard.items() if level < LOUD]
                self._ledger.check("parties hear the others", ", ".join(quiet) or None)
        for call in self._echoes:
            heard = call.caller.hears([call.caller.frequency])
            if heard:
                (level,) = heard.values()
                complaint = None if level > LOUD else f"{level:.0f} dB"
                self._ledger.check("echoes are heard", complaint)

    async def _audit(self) -> None:
        """Hold the tongues, and account for each packet."""
        async with self._auditing:
            callers = [call.caller for call in self._echoes]
            callers += [party.caller for party in self._parties]
            for caller in callers:
                caller.paused = True
            with trio.move_on_after(PATIENCE):
                while True:
                    await trio.sleep(2 * JITTER + SETTLED)
                    graph = await self.server.graph()
                    if all(account.agrees(graph) for account in self._accounts.values()):
                        break
            for account in self._accounts.values():
                account.audit(graph, self._ledger)
            for party in self._parties:
                await self._check_party(party)
            for caller in callers:
                caller.paused = False

    async def _check_party(self, party: PartyCall) -> None:
        """What it said came in."""
        graph, arrived = await self.server.graph(), -1
        with trio.move_on_after(PATIENCE):
            while arrived != party.caller.sent:
                await trio.sleep(0.05)
                graph = await self.server.graph()
                arrived = _counts(graph, party.scope, "source", "voice").offered
                arrived += kernel_drops({party.port})
        self._same("said in a room, and taken", party.caller.sent, arrived)

    def _same(self, where: str, one: int, other: int) -> None:
        self._ledger.same(where, one, other)

    # Before and after

    async def footprint(self, at_most: Footprint | None = None) -> Footprint:
        """Of the server when all is quiet; is waited for to be back at what it was."""
        await trio.sleep(1)
        found = (await self.server.status()).process
        with trio.move_on_after(PATIENCE):
            while at_most is not None and not is_flat(at_most, found):
                await trio.sleep(0.5)
                found = (await self.server.status()).process
        return found

    async def end(self) -> None:
        """End it in order; its log and its recordings must be right."""
        for party in self._parties:
            party.caller.paused = True
            await party.leave(self.server)
        for call in self._echoes:
            call.caller.paused = True
        status = await self.server.end()
        self._ledger.check("server ends in order", None if status == 0 else f"status {status}")
        for account in self._accounts.values():
            account.close(self._ledger)
        self._die()
        log = self.server.log.read_text()
        raised = Counter(
            line for line in log.splitlines() if line and not line[0].isspace() and "Error" in line
        )
        for line in raised:
            if "FragileError" not in line and not line.startswith(("WARNING", "ERROR:eventgraph")):
                self._ledger.complaints.append(f"the log of the server has {line!r}")
        for path in sorted(self.server.recordings.glob("*.wav")):
            with wave.open(str(path)) as file:
                seconds = file.getnframes() / file.getframerate()
            self._ledger.load["seconds recorded"] += int(seconds)
            self._ledger.check("recordings play", None if seconds > 1 else f"{path.name} is empty")


class Account:
    """Of the packets of one echo call."""

    def __init__(self, call: EchoCall) -> None:
        self._call = call
        self._passed = self._received = self._lost = 0  # when this life began, or was accounted
        self._audited = (0, 0)  # passed and received at the last audit
        self._losses: Counter[str] = Counter()  # of this life, at the last audit
        self._restarts = 0
        self._dropped = 0  # by the kernel, of what came back in earlier lives

    def begin(self) -> None:
        """A server takes its packets from now on."""
        self._passed, self._received = self._call.passed, self._call.caller.received
        self._audited = (self._passed, self._received)
        self._dropped = kernel_drops({self._call.caller.port})
        self._losses.clear()
        self._restarts = 0

    def miss(self, ledger: Ledger) -> None:
        """What was sent since the last server died was for nobody."""
        ledger.explained["sent to a server that was dead"] += self._call.passed - self._passed

    def agrees(self, graph: GraphSnapshot) -> bool:
        """Whether all has arrived."""
        return all(one == other for _, one, other in self._pairs(graph))

    def audit(self, graph: GraphSnapshot, ledger: Ledger) -> None:
        """Enter what was lost since the last audit, and whether that explains everything."""
        for where, one, other in self._pairs(graph):
            ledger.same(where, one, other)
        into, out, restarts = self._ways(graph)
        losses = Counter({"with a crash": restarts})
        for counts in (into, out):
            losses.update({f"in the graph: {why}": n for why, n in counts.dropped.items()})
        losses["by the kernel, its buffer full"] = self._drops()
        ledger.explained.update(losses - self._losses)
        ledger.faults["node: crash, and restart"] += restarts - self._restarts
        self._losses, self._restarts = losses, restarts
        self._audited = (self._call.passed, self._call.caller.received)

    def die(self, ledger: Ledger) -> None:
        """The server is dead; what was under way since the last audit died with it."""
        passed, received = self._call.passed, self._call.caller.received
        under_way = passed - self._audited[0] - (received - self._audited[1])
        ledger.explained["with the server, since the last audit"] += max(0, under_way)
        ledger.load["RTP packets echoed"] += received - self._received
        self._passed = self._call.passed

    def close(self, ledger: Ledger) -> None:
        """No more will come."""
        caller = self._call.caller
        ledger.load["RTP packets said to echoes"] += caller.sent
        ledger.explained["by the relay"] += self._call.lost
        ledger.faults["packet lost by the relay"] += self._call.lost
        ledger.same("said, and taken by the relay", caller.sent, len(self._call.relay.dropped))

    def _ways(self, graph: GraphSnapshot) -> tuple[Counts, Counts, int]:
        scope = self._call.scope
        (node,) = [n for n in graph.nodes if n.address == Address(scope, "fragile")]
        into = _counts(graph, scope, "source", "fragile")
        return into, _counts(graph, scope, "fragile", "sink"), node.restarts

    def _drops(self) -> int:
        return sum(self._in_kernel())

    def _in_kernel(self) -> tuple[int, int]:
        back = kernel_drops({self._call.caller.port}) - self._dropped
        return kernel_drops({self._call.port}), back

    def _pairs(self, graph: GraphSnapshot) -> list[tuple[str, int, int]]:
        into, out, restarts = self._ways(graph)
        passed = self._call.passed - self._passed
        received = self._call.caller.received - self._received
        in_kernel = self._in_kernel()
        return [
            ("passed by the relay, and offered", passed, into.offered + in_kernel[0]),
            ("offered, and handled or dropped", into.offered, _sum(into)),
            ("handled, and passed on or crashed", into.handled, out.offered + restarts),
            ("passed on, and handled or dropped", out.offered, _sum(out)),
            ("sent back, and received", out.handled, received + in_kernel[1]),
        ]


def _sum(counts: Counts) -> int:
    return counts.handled + counts.queued + sum(counts.dropped.values())


def _counts(graph: GraphSnapshot, scope: str, sender: str, receiver: str) -> Counts:
    ends = Address(scope, sender), Address(scope, receiver)
    for link in graph.links:
        if (link.sender, link.receiver) == ends:
            return link.counts
    return Counts()


FEW: Final = 2
"""Worker threads, connections and their tasks that come and go; a leak is many of them."""
MORE_MEMORY: Final = 16_000_000
"""Octets that a process may grow by: caches and the allocator, but no leak."""


def is_flat(before: Footprint, after: Footprint) -> bool:
    """Whether a process holds no more tasks, threads and descriptors than before, or hardly."""
    return (
        after.tasks <= before.tasks + FEW
        and after.threads <= before.threads + FEW
        and after.descriptors <= before.descriptors + FEW
    )
