"""A realm's server and its clients in real processes: it comes, goes, dies and hangs."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import trio

from eventgraph.flows import FlowDirectoryError, FlowServerError, ServerOptions, open_flows
from tests.flows.leftovers import processes_about
from tests.flows.processes import Process, Realm, goes_on, open_realm, until

LOSSLESS = {"slow_consumer": "block", "slots": 4, "max_block": 65536}


async def server_is_another(realm: Realm, before: int) -> None:
    async def is_another() -> bool:
        await trio.lowlevel.checkpoint()
        return realm.directory.server_pid() not in {None, before}

    await until(is_another)


async def flowing(realm: Realm, size: int = 0) -> tuple[Process, Process]:
    """A provider and a consumer, with blocks between them, none of which may be lost."""
    provider, consumer = await realm.start("provider"), await realm.start("consumer")
    await provider.ask("provide", "g/n", LOSSLESS, 0.001, size)
    await consumer.ask("consume", "g/n")
    await goes_on(consumer, "g/n")
    return provider, consumer


async def check_lossless(consumer: Process) -> None:
    await goes_on(consumer, "g/n")
    state = await consumer.ask("taken", "g/n")
    assert (state["missed"], state["disordered"], state["repeated"]) == (0, 0, 0)
    assert (state["providers"], state["takeovers"], state["sources"]) == (1, 0, 1)
    assert state["error"] == ""


async def test_ten_clients_at_once_get_one_server(tmp_path: Path) -> None:
    async with open_realm(tmp_path, idle_timeout=1.0) as realm:
        clients = await realm.start_many(10)
        servers = {(await client.ask("look"))["machines"][0]["pid"] for client in clients}
        assert servers == {realm.server()}
        listing = (await clients[0].ask("look"))["machines"][0]
        assert {client["pid"] for client in listing["clients"]} == {c.pid for c in clients}
        before = realm.server()
        os.kill(before, signal.SIGKILL)
        servers = {(await client.ask("look"))["machines"][0]["pid"] for client in clients}
        assert servers == {realm.server()} != {before}


async def test_server_ends_when_nobody_has_been_there_for_a_while(tmp_path: Path) -> None:
    async with open_realm(tmp_path, idle_timeout=0.5) as realm:
        client = await realm.start()
        server = realm.server()
        await trio.sleep(1.0)
        assert realm.server() == server
        await client.end()
        await realm.end()


@pytest.mark.parametrize("size", [0, 30_000])
async def test_killed_server_is_replaced_and_no_block_is_lost(tmp_path: Path, size: int) -> None:
    async with open_realm(tmp_path) as realm:
        provider, consumer = await flowing(realm, size)
        for _ in range(3):
            before = realm.server()
            os.kill(before, signal.SIGKILL)
            await goes_on(consumer, "g/n")
            await server_is_another(realm, before)

            async def all_registered() -> bool:
                flows = (await provider.ask("look"))["machines"][0]["flows"]
                return [len(flow["consumers"]) for flow in flows] == [1]

            await until(all_registered)
            await check_lossless(consumer)
        late = await realm.start("late")
        await late.ask("consume", "*/n")
        await goes_on(late, "*/n")
        await check_lossless(consumer)


async def test_stopped_server_is_replaced_while_flows_go_on(tmp_path: Path) -> None:
    async with open_realm(tmp_path, keepalive=0.6) as realm:
        provider, consumer = await flowing(realm)
        before = realm.server()
        os.kill(before, signal.SIGSTOP)
        for _ in range(3):
            await goes_on(consumer, "g/n", 5.0)
        with trio.fail_after(20):
            assert (await provider.ask("look"))["machines"][0]["pid"] != before
        assert before not in processes_about(str(tmp_path))
        late = await realm.start("late")
        await late.ask("consume", "g/n")
        await goes_on(late, "g/n")
        await check_lossless(consumer)


async def test_client_that_finds_a_stopped_server_replaces_it(tmp_path: Path) -> None:
    async with open_realm(tmp_path, keepalive=30.0) as realm:
        provider, consumer = await flowing(realm)
        before = realm.server()
        os.kill(before, signal.SIGSTOP)
        late = await realm.start("late")
        await late.ask("consume", "g/n")
        await goes_on(late, "g/n")
        assert realm.server() != before
        await check_lossless(consumer)
        assert (await provider.ask("sent", "g/n"))["consumers"] == 2


async def test_client_that_was_stopped_does_not_take_its_server_for_dead(tmp_path: Path) -> None:
    async with open_realm(tmp_path, keepalive=0.5) as realm:
        provider, consumer = await flowing(realm)
        before = realm.server()
        consumer.signal(signal.SIGSTOP)
        await trio.sleep(2.0)
        consumer.signal(signal.SIGCONT)
        await trio.sleep(1.0)
        assert realm.server() == before
        await check_lossless(consumer)
        assert (await provider.ask("sent", "g/n"))["error"] == ""


async def test_server_whose_directory_was_removed_yields(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, consumer = await flowing(realm)
        before = realm.server()
        shutil.rmtree(realm.directory.path.parent)
        await server_is_another(realm, before)

        async def is_gone() -> bool:
            await trio.lowlevel.checkpoint()
            return before not in processes_about(str(tmp_path))

        await until(is_gone)
        assert (await provider.ask("look"))["machines"][0]["pid"] == realm.server()
        late = await realm.start("late")
        await late.ask("consume", "g/n")
        await goes_on(late, "g/n")
        await check_lossless(consumer)


async def test_client_that_must_not_start_a_server_says_that_there_is_none(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        with pytest.raises(FlowServerError, match="no server of tests"):
            async with open_flows(realm.options, start=False):
                pytest.fail("it is open")


async def test_client_that_must_not_start_a_server_waits_for_the_next(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        await realm.start("starter")
        async with open_flows(realm.options, start=False) as client:
            before = realm.server()
            os.kill(before, signal.SIGKILL)
            listing = await client.look()
            assert listing.machines[0].pid == realm.server() != before


async def test_server_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    options = ServerOptions(
        "tests", runtime_directory=tmp_path, registry=f"embedded:{tmp_path}/{'x' * 200}"
    )
    with pytest.raises(FlowServerError) as caught:
        async with open_flows(options):
            pytest.fail("it is open")
    assert re.fullmatch(
        f"the server failed; it wrote:\n{tmp_path}/x+ has [0-9]+ bytes; .*", str(caught.value)
    )
    assert os.listdir(tmp_path) == []


async def test_directory_in_which_nothing_can_be_made_is_named() -> None:
    options = ServerOptions("tests", runtime_directory=Path("/proc"), registry="")
    with pytest.raises(FlowDirectoryError, match="/proc takes no directories, or somebody"):
        async with open_flows(options):
            pytest.fail("it is open")


@pytest.mark.parametrize(
    ("registry", "shown"),
    [
        ("etcds://me:p%40ss@one:2379,two:2379", "etcds://one:2379,two:2379"),
        ("etcd://me:p@ss@one:2379", "etcd://one:2379"),
        ("etcd://one:2379", "etcd://one:2379"),
        ("embedded:/a@b/registry.sock", "embedded:/a@b/registry.sock"),
        ("", ""),
    ],
)
def test_registry_is_shown_without_the_password(registry: str, shown: str) -> None:
    assert ServerOptions("tests", registry=registry).shown_registry == shown
