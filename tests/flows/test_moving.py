"""Measuring clients and moving them. The client and its load are real, the other machine is not."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from eventgraph.flows import (
    ClientListing,
    FlowClient,
    FlowRefusedError,
    MachineListing,
)
from eventgraph.flows.balancing import Balancer, MachineLoad, Move
from eventgraph.flows.balancing.none import DoNothing
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.balance import Balance, loads
from eventgraph.flows.server.options import ServerOptions
from eventgraph.flows.server.server import FlowServer
from eventgraph.flows.server.supervisor import Supervisor
from tests.flows.launched_client import FORMAT
from tests.flows.launching import (
    KEY,
    connected,
    find,
    here,
    launch,
    options,
    server_in_process,
    until,
)
from tests.flows.leftovers import children

__all__ = ["options"]  # a fixture


class OtherMachine:
    """What the server sees of it; it runs clients at once, or refuses."""

    def __init__(self, server: FlowServer, *, refuses: bool = False, stands: bool = True) -> None:
        self.refuses = refuses
        self.stands = stands
        self.launches: list[Launch] = []
        self.clients: tuple[ClientListing, ...] = ()
        server.others = self

    async def look_around(self) -> list[MachineListing]:
        await trio.lowlevel.checkpoint()
        return [
            MachineListing("other", pid=1, cores=4.0, busy=0.5, clients=self.clients),
            MachineListing("silent", problem="it does not answer"),
        ]

    async def run_elsewhere(self, launch: Launch, machine: str) -> str:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise FlowRefusedError(f"{machine} is full")
        self.launches.append(launch)
        problem = "" if self.stands else "it starts"
        self.clients += (
            ClientListing(launch.id, launch.name, 4711, launched=True, problem=problem),
        )
        return launch.id

    async def end_elsewhere(self, client: str) -> None:
        raise FlowRefusedError(f"there is no client with the id {client}")

    def rank_for(self, started: int) -> int:
        return started

    def origin_of(self, flow: str) -> str:
        return ""


class MoveEverything(Balancer):
    """Away from this machine; remembers what it was asked with."""

    name = "everything"

    def __init__(self) -> None:
        self.asked: list[Sequence[MachineLoad]] = []

    def decide(self, machines: Sequence[MachineLoad], now: float) -> list[Move]:
        self.asked.append(machines)
        ours = next(machine for machine in machines if machine.name == "here")
        return [
            *(Move(client.id, "here", "other") for client in ours.clients),
            Move("not-ours", "other", "here"),
        ]


@asynccontextmanager
async def balanced(
    options: ServerOptions, balancer: Balancer, *, stand_time: float = 60.0
) -> AsyncIterator[tuple[FlowServer, Supervisor, FlowClient]]:
    options = msgspec.structs.replace(options, machine="here")
    async with server_in_process(options) as (server, supervisor, client):
        balance = Balance(server, supervisor, balancer, period=0.2, stand_time=stand_time)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(balance.run)
            yield server, supervisor, client
            nursery.cancel_scope.cancel()


async def test_cores_and_the_need_of_clients_are_listed(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with balanced(options, DoNothing()) as (_, _, client):
        await client.run(launch(tmp_path, "busy"))
        await client.run(launch(tmp_path, "provide"))
        await until(lambda: takes_more(client, "busy", "provide"))
        machine = (await client.look()).machines[0]
        assert 0 < machine.busy <= machine.cores <= (os.cpu_count() or 1)
        assert next(c for c in machine.clients if c.name == "test").need <= machine.cores


async def takes_more(client: FlowClient, busy: str, idle: str) -> bool:
    need = {c.name: c.need for c in here(await client.look()) if c.age > 1.0}
    return need.keys() >= {busy, idle} and need[busy] > 2 * need[idle] > 0


async def test_movable_client_ends_here_when_it_stands_on_the_other_machine(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with balanced(options, MoveEverything()) as (server, supervisor, client):
        id = await client.run(launch(tmp_path, "provide", movable=True))
        await find(client, "provide", connected)
        other = OtherMachine(server)
        await until(lambda: without(supervisor, id))
        assert [(moved.id, moved.movable) for moved in other.launches] == [(id, True)]
        assert all(c.id != id for c in here(await client.look(everywhere=False)))
        assert children() == []


async def without(supervisor: Supervisor, id: str) -> bool:
    await trio.lowlevel.checkpoint()
    return id not in supervisor.clients


async def test_moved_provider_that_is_taken_over_and_crashes_is_not_started_again(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with balanced(options, MoveEverything()) as (server, supervisor, client):
        id = await client.run(launch(tmp_path, "deaf", movable=True))
        pid = (await find(client, "deaf", connected)).pid
        other = OtherMachine(server, stands=False)
        await until(lambda: was_launched(other))
        with await client.provide(KEY, FORMAT):  # as the one there would
            os.kill(pid, signal.SIGKILL)
            await until(lambda: without(supervisor, id))
            await trio.sleep(0.5)
            assert id not in supervisor.clients


async def was_launched(other: OtherMachine) -> bool:
    await trio.lowlevel.checkpoint()
    return bool(other.launches)


@pytest.mark.parametrize("fault", ["refuses", "does not stand"])
async def test_client_stays_if_it_does_not_come_to_stand_on_the_other_machine(
    options: ServerOptions, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    balancer = MoveEverything()
    async with balanced(options, balancer, stand_time=0.5) as (server, supervisor, client):
        id = await client.run(launch(tmp_path, "provide", movable=True))
        pid = (await find(client, "provide", connected)).pid
        other = OtherMachine(server, refuses=fault == "refuses", stands=False)
        await trio.sleep(2.0)
        assert id in supervisor.clients
        assert (await find(client, "provide", connected)).pid == pid
        if fault == "refuses":
            assert "cannot be moved to other: other is full" in caplog.text
        else:
            assert len(other.launches) > 0
            assert "does not stand on other" in caplog.text


async def test_client_that_is_not_movable_stays_whatever_a_balancer_says(
    options: ServerOptions, tmp_path: Path
) -> None:
    balancer = MoveEverything()
    async with balanced(options, balancer) as (server, supervisor, client):
        id = await client.run(launch(tmp_path, "provide"))
        await find(client, "provide", connected)
        other = OtherMachine(server)
        asked = len(balancer.asked)
        await until(lambda: asked_again(balancer, asked + 3))
        assert id in supervisor.clients
        assert other.launches == []


async def asked_again(balancer: MoveEverything, count: int) -> bool:
    await trio.lowlevel.checkpoint()
    return len(balancer.asked) >= count


async def test_balancer_is_told_of_measured_machines_and_launched_clients_alone(
    options: ServerOptions, tmp_path: Path
) -> None:
    balancer = MoveEverything()
    async with balanced(options, balancer) as (server, _, client):
        id = await client.run(launch(tmp_path, "provide"))
        await find(client, "provide", connected)
        OtherMachine(server)
        asked = len(balancer.asked)
        await until(lambda: asked_again(balancer, asked + 2))
        ours, others = balancer.asked[-1]
        assert (ours.name, others) == ("here", MachineLoad("other", 4.0, 0.5))
        assert [(c.id, c.movable) for c in ours.clients] == [(id, False)]
        assert ours.clients[0].since > 0


def test_client_that_does_not_run_is_no_load() -> None:
    crashed = ClientListing("a", "a", 0, launched=True, problem="it crashed")
    runs = ClientListing("b", "b", 7, launched=True, movable=True, need=0.5, age=3.0)
    (machine,) = loads([MachineListing("m", cores=2.0, busy=1.0, clients=(crashed, runs))])
    assert [(c.id, c.need, c.since) for c in machine.clients] == [("b", 0.5, 3.0)]
