"""Two machines, each with a network of its own, and etcd on one of them.

Run with -s for the times that things take.
"""

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio

from eventgraph.flows import AuthenticationOptions, ServerOptions
from eventgraph.flows.server.options import encode_options
from eventgraph.pipes import Binding
from tests.pipes.namespaces import Machine, Network, network
from tests.pipes.processes import PROJECT, Process

KEEPALIVE = 1.0  # seconds, between servers
TTL = 2.0  # seconds that a dead machine stays in the registry; etcd knows nothing shorter
LIMIT = 20.0  # seconds that anything may take on a busy machine
IDLE = 3.0  # seconds without a client after which a server ends
KEY = "studio/camera"

pytestmark = pytest.mark.interop("etcd-server", "iproute2")


@contextmanager
def etcd(machine: Machine, directory: Path) -> Iterator[str]:
    """One on that machine; its URL."""
    url = f"http://{machine.address}:2379"
    with subprocess.Popen(
        machine.command(
            [
                *("etcd", "--data-dir", str(directory / "etcd"), "--log-level=error"),
                *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
                *("--heartbeat-interval=10", "--election-timeout=100"),
            ]
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield f"etcd://{machine.address}:2379"
        finally:
            process.kill()


class Realm:
    """Clients on both machines."""

    def __init__(self, net: Network, registry: str, directory: Path, secret: Path | None) -> None:
        self.net = net
        self.directory = directory
        self._registry = registry
        self._secret = secret
        self._parties: list[Process] = []

    def options(self, name: str, machine: Machine) -> ServerOptions:
        return ServerOptions(
            "test",
            machine=name,
            runtime_directory=self.directory,
            registry=self._registry,
            ttl=TTL,
            keepalive=KEEPALIVE,
            binding=Binding(host=machine.address),
            idle_timeout=IDLE,
            authentication=AuthenticationOptions("secret", secret_file=self._secret)
            if self._secret
            else AuthenticationOptions(),
        )

    async def start(self, name: str, place: str) -> Process:
        """A client on ``east``, where etcd is, or on ``west``; its number is the last letter."""
        machine = self.net.hub if place == "east" else self.net.others[0]
        log = self.directory / f"{name}.log"
        with written(log) as stderr:
            process = await trio.lowlevel.open_process(
                machine.python(
                    *("-m", "tests.flows.machine_process", name),
                    encode_options(self.options(place, machine)),
                ),
                stdin=-1,
                stdout=-1,
                stderr=stderr,
                cwd=PROJECT,
            )
        party = Process(process, log)
        self._parties.append(party)
        await party.ask("hello")
        return party

    async def end(self) -> None:
        """Let all leave in order; nothing must remain."""
        for party in self._parties:
            if party.runs:
                await party.end()
        with trio.fail_after(LIMIT):
            while any(self.directory.glob("sf_*")):  # noqa: ASYNC110  # servers end by themselves
                await trio.sleep(0.1)

    async def destroy(self) -> None:
        for party in self._parties:
            await party.destroy()


def written(path: Path) -> BinaryIO:
    """A file to write to."""
    return path.open("wb")


def secret_in(directory: Path) -> Path:
    """One that all servers and clients have."""
    path = directory / "secret"
    path.touch(0o600)
    path.write_bytes(b"0123456789abcdef0123456789abcdef")
    return path


@asynccontextmanager
async def realm(directory: Path, *, sealed: bool = False) -> AsyncIterator[Realm]:
    """Two machines without a client; whatever was started has ended when the block is left."""
    secret = secret_in(directory) if sealed else None
    with network(machines=1) as net, etcd(net.hub, directory) as registry:
        both = Realm(net, registry, directory, secret)
        try:
            yield both
            await both.end()
        finally:
            with trio.CancelScope(shield=True):
                await both.destroy()


async def until(
    party: Process, condition: Callable[[dict[str, Any]], bool], limit: float = LIMIT
) -> float:
    """Wait until a state is reached; how long it took (seconds)."""
    began = trio.current_time()
    while not condition(state := await party.ask("state")):
        assert trio.current_time() < began + limit, state
        await trio.sleep(0.01)
    return trio.current_time() - began


async def take(party: Process, sender: int | None = None, count: int = 5) -> list[list[int]]:
    """What came until there were so many blocks of a sender."""
    taken: list[list[int]] = []
    with trio.fail_after(LIMIT):
        while sum(sender in (None, block[0]) for block in taken) < count:
            taken += await party.ask("taken")
            await trio.sleep(0.01)
    return taken


def assert_in_order(blocks: list[list[int]]) -> None:
    """No block twice, and timestamps go up."""
    timestamps = [timestamp for _, _, timestamp in blocks]
    assert timestamps == sorted(set(timestamps))
    assert len({(sender, number) for sender, number, _ in blocks}) == len(blocks)


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
async def test_flow_reaches_consumers_on_both_machines_with_one_crossing(
    tmp_path: Path, sealed: bool
) -> None:
    async with realm(tmp_path, sealed=sealed) as both:
        provider = await both.start("provider 1", "east")
        consumers = [await both.start(f"consumer {n}", "west") for n in (2, 3)]
        consumers.append(await both.start("consumer 4", "east"))
        for consumer in consumers:
            await consumer.ask("consume", KEY)
        await provider.ask("provide", KEY, 1200, {})
        for consumer in consumers:
            assert_in_order(await take(consumer, sender=1, count=50))
        machines = await provider.ask("look")
        (outward,) = machines["east"]["flows"]
        assert sorted(c["name"] for c in outward["consumers"]) == ["consumer 4", "other machines"]
        (inward,) = machines["west"]["flows"]
        assert inward["origin"] == "east"
        assert sorted(c["name"] for c in inward["consumers"]) == ["consumer 2", "consumer 3"]
        assert 0 <= abs(machines["west"]["offset"]) <= machines["west"]["uncertainty"] + 1_000_000
        for consumer in consumers[:2]:
            await consumer.ask("close")
        await until_machine(provider, "east", lambda m: len(m["flows"][0]["consumers"]) == 1)


async def until_machine(
    party: Process, name: str, condition: Callable[[dict[str, Any]], bool]
) -> None:
    """Wait until a machine is listed so."""
    with trio.fail_after(LIMIT):
        while not condition((await party.ask("look"))[name]):  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_large_blocks_cross_whole_and_a_provider_that_waits_loses_none(
    tmp_path: Path,
) -> None:
    async with realm(tmp_path) as both:
        provider = await both.start("provider 1", "east")
        slow = await both.start("consumer 2", "west")
        await slow.ask("consume", KEY, 0.005)
        await until_machine(provider, "west", lambda m: bool(m["clients"]))
        await provider.ask("provide", KEY, 200_000, {"slow_consumer": "block", "wait_clients": 1})
        await slow.ask("signal", True)
        blocks = await take(slow, sender=1, count=150)
        assert [number for _, number, _ in blocks] == list(range(len(blocks)))


async def test_take_over_between_machines_moves_all_consumers(tmp_path: Path) -> None:
    async with realm(tmp_path) as both:
        old = await both.start("provider 1", "east")
        near, far = (await both.start("consumer 3", "east"), await both.start("consumer 4", "west"))
        for consumer in (near, far):
            await consumer.ask("consume", KEY)
        await old.ask("provide", KEY, 1200, {})
        before = [await take(consumer, sender=1) for consumer in (near, far)]
        new = await both.start("provider 2", "west")
        await new.ask("provide", KEY, 1200, {})
        for consumer, first in zip((near, far), before, strict=True):
            blocks = first + await take(consumer, sender=2)
            assert_in_order(blocks)
            senders = [sender for sender, _, _ in blocks]
            assert senders == sorted(senders)  # and not back
            state = (await consumer.ask("state"))["consumer"]
            assert state["takeovers"] == 1
            gap = state["last_gap"] / 1e6
            print(f"\ntaken over with a gap of {gap:.0f} ms (a block each 10 ms)", end=" ")
            assert gap < 2000
        await until(old, lambda state: "FlowObsoleteError" in state["ended"])


async def test_stop_crosses_machines_and_ends_with_its_sayer(tmp_path: Path) -> None:
    async with realm(tmp_path) as both:
        provider = await both.start("provider 1", "east")
        here = await both.start("consumer 2", "east")
        there, doomed = await both.start("consumer 3", "west"), await both.start("killed 4", "west")
        for consumer in (here, there, doomed):
            await consumer.ask("consume", KEY)
        await provider.ask("provide", KEY, 100, {"allow_flow_control": True})
        await take(doomed)
        assert await doomed.ask("signal", False) == ""
        await until(provider, lambda state: state["running"] is False)
        await here.ask("signal", True)  # it has not stopped it
        await there.ask("signal", True)
        await trio.sleep(0.3)
        assert (await provider.ask("state"))["running"] is False
        await doomed.kill()
        took = await until(provider, lambda state: state["running"] is True)
        print(f"\nruns again {took * 1000:.0f} ms after the death of who stopped it", end=" ")
        await here.ask("taken")
        await take(here)


async def test_cut_network_is_survived_and_heals(tmp_path: Path) -> None:
    async with realm(tmp_path) as both:
        provider = await both.start("provider 1", "east")
        near, far = await both.start("consumer 2", "east"), await both.start("consumer 3", "west")
        for consumer in (near, far):
            await consumer.ask("consume", KEY)
        await provider.ask("provide", KEY, 1200, {"allow_flow_control": True})
        for consumer in (near, far):
            await take(consumer)
        await far.ask("signal", False)
        await until(provider, lambda state: state["running"] is False)
        both.net.drop(0)
        took = await until(provider, lambda state: state["running"] is True)
        print(f"\nruns again {took:.2f} s after the network of who stopped it was cut", end=" ")
        await near.ask("taken")
        await take(near)
        stand_in = await both.start("provider 4", "west")  # the cut machine helps itself
        await stand_in.ask("provide", KEY, 1200, {})
        await take(far, sender=4)
        both.net.pass_on(0)
        began = time.monotonic()
        await take(near, sender=4)  # it was started later, so it takes over everywhere
        print(f"\none provider {time.monotonic() - began:.2f} s after the healing", end=" ")
        await until(provider, lambda state: "FlowObsoleteError" in state["ended"])
        await far.ask("taken")
        blocks = await take(far, count=30)
        assert_in_order(blocks)
        assert {sender for sender, _, _ in blocks} == {4}


async def test_killed_servers_of_both_machines_are_replaced(tmp_path: Path) -> None:
    async with realm(tmp_path) as both:
        provider = await both.start("provider 1", "east")
        near, far = await both.start("consumer 2", "east"), await both.start("consumer 3", "west")
        for consumer in (near, far):
            await consumer.ask("consume", KEY)
        await provider.ask("provide", KEY, 1200, {})
        for victim in (provider, far, provider):
            for consumer in (near, far):
                await take(consumer)
            await victim.ask("kill_server")
            began = time.monotonic()
            for consumer in (near, far):
                await consumer.ask("taken")
                await take(consumer, count=30)
            print(f"\nboth hear it {time.monotonic() - began:.2f} s after kill -9", end=" ")


async def test_stopped_etcd_holds_up_nothing_that_stands(tmp_path: Path) -> None:
    async with realm(tmp_path) as both:
        provider = await both.start("provider 1", "east")
        far = await both.start("consumer 2", "west")
        await far.ask("consume", KEY)
        await provider.ask("provide", KEY, 1200, {})
        await take(far)
        with stopped_etcd(both.directory):
            await far.ask("taken")
            await take(far, count=300)  # longer than its keys live
            late = await both.start("consumer 3", "east")  # and here all is as ever
            await late.ask("consume", KEY)
            await take(late)
        await take(far, count=300)


@contextmanager
def stopped_etcd(directory: Path) -> Iterator[None]:
    """It hangs for as long as the block."""
    (pid,) = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"{directory}/etcd".encode() in read(path)
    ]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def read(path: Path) -> bytes:
    """Empty if the process has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
