"""Workers: graphs in processes that a real server starts."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from eventgraph import Event, Graph
from eventgraph.flows import (
    FlowClient,
    FlowNameError,
    FlowOptionError,
    FlowRefusedError,
    FlowWorkerError,
    ServerOptions,
    open_flows,
)
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.flows.worker import worker
from eventgraph.testing import Probe

from . import worker_graphs
from .leftovers import processes_about
from .worker_graphs import CRASH, KILL, WHO, doubler

TIMEOUT = 60  # seconds; starting a program may take ten on a busy machine
FUNCTIONS = "tests.flows.worker_graphs"


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    return ServerOptions("workers", runtime_directory=tmp_path, registry="", idle_timeout=1)


@pytest.fixture
async def client(options: ServerOptions) -> AsyncIterator[FlowClient]:
    async with open_flows(options, name="tester") as client:
        yield client


async def until(condition: Callable[[], Any]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # it happens in another process
            await trio.sleep(0.01)


def log_in(directory: Path) -> str:
    """What the server and its clients have written."""
    (path,) = directory.glob("sf_*/sf_*/log")
    return path.read_text()


async def until_unlisted(client: FlowClient, id: str) -> None:
    with trio.fail_after(TIMEOUT):
        while await is_listed(client, id):  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.02)


class Caller:
    """Says numbers, and hears what becomes of them."""

    def __init__(self, out: Any, probe: Probe) -> None:
        self._out = out
        self._probe = probe

    async def ask(self, event: Event) -> Any:
        """Say it again and again until there is an answer: media gets lost meanwhile."""
        before = len(self._probe.events)
        with trio.fail_after(TIMEOUT):
            while len(self._probe.events) == before:
                self._out.deliver_self(event)
                await trio.sleep(0.05)
        return self._probe.events[before].obj

    def say(self, event: Event) -> None:
        self._out.deliver_self(event)


async def make_caller(graph: Graph, client: FlowClient) -> Caller:
    provider = await client.provide("numbers/in")
    consumer = await client.consume("numbers/out")
    probe = Probe("here", "probe")
    graph.add_node(probe)
    graph.add_node(FlowConsumerNode("here", "in", consumer)).request_link_up("here", "probe")
    return Caller(graph.add_node(FlowProviderNode("here", "out", provider)), probe)


async def is_listed(client: FlowClient, id: str) -> bool:
    (machine,) = (await client.look()).machines
    return any(listed.id == id for listed in machine.clients)


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists() and pid in processes_about("worker")


@pytest.mark.parametrize(
    "function", [doubler, f"{FUNCTIONS}:doubler", f"{worker_graphs.__file__}:doubler"], ids=type
)
async def test_graph_of_another_process_is_there_for_the_length_of_the_block(
    function: Any, client: FlowClient
) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        arguments = {"greeting": "good day"}
        async with worker(client, function, scope="doubling", arguments=arguments) as working:
            assert await caller.ask(Event(9, 21)) == 42
            pid, scope, greeting = await caller.ask(Event(WHO))
            assert (scope, greeting) == ("doubling", "good day")
            assert pid != os.getpid()
            assert await is_listed(client, working.id)
        assert not await is_listed(client, working.id)
        await until(lambda: not runs(pid))
        assert len(list((await client.look()).flows())) == 1


@pytest.mark.parametrize("command", [KILL, "SIGSEGV"])
async def test_worker_that_is_killed_is_started_again(
    command: int | str, client: FlowClient
) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        async with worker(client, doubler, scope="doubling") as working:
            first, *_ = await caller.ask(Event(WHO))
            if isinstance(command, str):
                os.kill(first, signal.Signals[command])
            else:
                caller.say(Event(command))
            with trio.fail_after(TIMEOUT):
                await working.wait_started()
            second, *_ = await caller.ask(Event(WHO))
            assert second != first


async def test_node_that_crashes_in_a_worker_does_not_end_it(client: FlowClient) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        async with worker(client, doubler, scope="doubling"):
            pid, *_ = await caller.ask(Event(WHO))
            caller.say(Event(CRASH))
            await trio.sleep(0.5)
            assert runs(pid)


async def test_worker_of_which_no_node_is_left_after_a_crash_is_started_again(
    client: FlowClient,
) -> None:
    async with worker(client, f"{FUNCTIONS}:crashes", scope="lone") as working:
        with trio.fail_after(TIMEOUT):
            await working.wait_started()
            await working.wait_started()


async def test_worker_of_which_one_flow_is_taken_over_is_started_again_and_has_it_back(
    client: FlowClient,
) -> None:
    async def providers() -> list[str]:
        flows = (await client.look()).flows()
        return sorted(f"{flow.key} {flow.provider}" for _, flow in flows if not flow.obsolete)

    whole = ["pair/one of-pair", "pair/other of-pair"]
    async with worker(client, f"{FUNCTIONS}:pair", scope="of-pair") as working:
        assert set(whole) < set(await providers())
        with await client.provide("pair/one"):
            assert "pair/one tester" in await providers()
        with trio.fail_after(TIMEOUT):
            await working.wait_started()
            assert set(whole) < set(await providers())


async def test_worker_of_which_everything_is_taken_over_ends_for_good(
    client: FlowClient, tmp_path: Path
) -> None:
    async with worker(client, doubler, scope="doubling") as working:
        with await client.provide("numbers/out"):
            await until_unlisted(client, working.id)
    assert f"doubling ({working.id}): ended" in log_in(tmp_path)
    assert "started again" not in log_in(tmp_path)


async def test_worker_whose_consumer_has_failed_ends_and_is_started_again_by_the_limits(
    client: FlowClient, tmp_path: Path
) -> None:
    with await client.provide("numbers/in"):
        async with worker(client, f"{FUNCTIONS}:unheard", scope="unheard", respawns=1) as working:
            given_up = f"unheard ({working.id}): it crashed (exit status 1), and is not started"
            await until(lambda: given_up in log_in(tmp_path))
    assert log_in(tmp_path).count("the worker ends: a node of a flow has crashed") == 2


async def test_worker_that_is_ended_logs_no_crash(client: FlowClient, tmp_path: Path) -> None:
    async with worker(client, doubler, scope="doubling"):
        pass
    log = log_in(tmp_path)
    assert "the worker ends: a client asked for it, or the server" in log
    assert "Traceback" not in log
    assert "crashed" not in log


async def test_failure_at_the_start_reaches_the_caller_and_nothing_is_left(
    client: FlowClient, tmp_path: Path
) -> None:
    with pytest.raises(FlowWorkerError, match="worker odd: ValueError: odd cannot be") as caught:
        async with worker(client, f"{FUNCTIONS}:fails", scope="odd"):
            raise AssertionError("it did not start")
    assert "worker_graphs.py" in caught.value.__notes__[0]
    (machine,) = (await client.look()).machines
    assert [listed.name for listed in machine.clients] == ["tester"]
    assert not machine.flows


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (f"{FUNCTIONS}:missing", "AttributeError: "),
        ("no.such.module:missing", "ModuleNotFoundError: No module named 'no'"),
        ("/no/such/file.py:missing", "FileNotFoundError: "),
        (f"{FUNCTIONS}:NOT_A_FUNCTION", "FlowOptionError: .* is a int, and no function"),
    ],
)
async def test_function_that_is_not_there_is_said_to_the_caller(
    function: str, error: str, client: FlowClient
) -> None:
    with pytest.raises(FlowWorkerError, match=error):
        async with worker(client, function, scope="x"):
            raise AssertionError("it did not start")


@pytest.mark.parametrize("function", ["hangs", "dies"])
async def test_worker_that_does_not_get_ready_is_given_up(
    function: str, client: FlowClient
) -> None:
    with pytest.raises(FlowWorkerError, match="was not ready within 3 s"):
        async with worker(client, f"{FUNCTIONS}:{function}", scope="x", start_timeout=3):
            raise AssertionError("it did not start")
    (machine,) = (await client.look()).machines
    assert [listed.name for listed in machine.clients] == ["tester"]


async def test_worker_is_ended_when_the_block_fails(client: FlowClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with worker(client, doubler, scope="doubling") as working:
            1 / 0  # noqa: B018
    assert not await is_listed(client, working.id)


async def test_worker_is_ended_when_the_block_is_cancelled(client: FlowClient) -> None:
    with trio.CancelScope() as scope:
        async with worker(client, doubler, scope="doubling") as working:
            scope.cancel()
            await trio.sleep_forever()
    assert not await is_listed(client, working.id)


async def test_worker_that_is_kept_stays_until_it_is_ended(client: FlowClient) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        async with worker(client, doubler, scope="doubling", keep=True) as working:
            pass
        assert await caller.ask(Event(9, 4)) == 8
        await client.end(working.id)
        await until_unlisted(client, working.id)


async def test_worker_whose_nodes_have_left_ends_and_is_not_started_again(
    client: FlowClient,
) -> None:
    async with worker(client, f"{FUNCTIONS}:leaves", scope="leaving") as working:
        await until_unlisted(client, working.id)


async def test_node_that_leaves_during_the_start_does_not_end_a_worker(
    client: FlowClient,
) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        async with worker(client, f"{FUNCTIONS}:doubler_after_another", scope="doubling"):
            assert await caller.ask(Event(9, 3)) == 6


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"function": "nonsense"}, FlowOptionError),
        ({"function": lambda graph, client, scope: None}, FlowOptionError),
        ({"scope": "no/name"}, FlowNameError),
        ({"arguments": {"x": object}}, FlowOptionError),
        ({"machine": "elsewhere"}, FlowRefusedError),
    ],
    ids=["function", "closure", "scope", "arguments", "machine"],
)
async def test_what_makes_no_sense_is_said_at_once(
    given: dict[str, Any], error: type[Exception], client: FlowClient
) -> None:
    function = given.pop("function", doubler)
    with pytest.raises(error):
        async with worker(client, function, **{"scope": "doubling", **given}):
            raise AssertionError("it did not start")


_SCRIPT = """
import sys, trio
from eventgraph import Node
from eventgraph.flows import open_flows
from eventgraph.flows.server.options import decode_options
from eventgraph.flows.worker import worker

async def set_up(graph, client, scope):
    graph.add_node(Node(scope, "node"))

async def main():
    async with open_flows(decode_options(sys.argv[1]), name="script") as client:
        async with worker(client, set_up, scope="of-script") as working:
            print(working.id, flush=True)
            await trio.sleep_forever()

if __name__ == "__main__":
    trio.run(main)
"""


async def test_worker_of_a_script_that_is_killed_ends_by_itself(
    client: FlowClient, options: ServerOptions, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    text = msgspec.json.encode(options, enc_hook=str).decode()
    process = await trio.lowlevel.open_process(
        [sys.executable, str(script), text], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(TIMEOUT):
            working = (await process.stdout.receive_some()).decode().strip()
        assert await is_listed(client, working)
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()
    await until_unlisted(client, working)


async def test_worker_outlives_the_server(client: FlowClient) -> None:
    async with Graph() as graph:
        caller = await make_caller(graph, client)
        async with worker(client, doubler, scope="doubling") as working:
            pid, *_ = await caller.ask(Event(WHO))
            (machine,) = (await client.look()).machines
            os.kill(machine.pid, signal.SIGKILL)
            assert await caller.ask(Event(9, 5)) == 10
            with trio.fail_after(TIMEOUT):
                while not await is_listed(client, working.id):  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.02)
            assert (await caller.ask(Event(WHO)))[0] == pid
        await until(lambda: not runs(pid))
