"""Clients that a server starts: real processes, real kill -9, and nothing left behind."""

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from eventgraph.flows import (
    FlowClient,
    FlowRefusedError,
    Launch,
    ServerOptions,
    open_flows,
)
from eventgraph.flows.authentication.trust import TrustEverybody
from eventgraph.flows.client import open_client
from eventgraph.flows.door import Door
from eventgraph.flows.server import supervisor as supervising
from eventgraph.flows.server.options import encode_options
from eventgraph.flows.server.output import Output, open_output
from tests.flows.launched_client import FORMAT, SLEEP
from tests.flows.launching import (
    KEY,
    PATIENCE,
    connected,
    find,
    here,
    killed_at_end,
    launch,
    log_of,
    log_path,
    options,
    server_in_process,
    until,
)
from tests.flows.leftovers import children, ended, processes_about

__all__ = ["options"]  # a fixture


def is_alive(pid: int) -> bool:
    """Zombies are not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """Zombies included."""
    return [
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]


async def server_pid(client: FlowClient) -> int:
    return (await client.look()).machines[0].pid


async def test_launched_client_is_listed_and_ends_when_it_is_asked(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "provide"))
        listed = await find(client, "provide", connected)
        assert (listed.id, listed.launched, listed.restarts) == (id, True, 0)
        async for block in await client.consume(KEY):
            with block:
                assert int(bytes(block.data)) == listed.pid
            break
        await client.end(id)
        await until(lambda: gone(client, "provide"))
        assert not is_alive(listed.pid)
        await until(lambda: logged(options, "provide: client"))
        assert f"provide: client {listed.pid} was asked to end" in log_of(options)
        assert children_of(await server_pid(client)) == []


async def gone(client: FlowClient, name: str) -> bool:
    return all(c.name != name for c in here(await client.look()))


async def logged(options: ServerOptions, text: str) -> bool:
    await trio.lowlevel.checkpoint()
    return text in log_of(options)


async def test_killed_client_comes_back_under_its_id_and_its_consumers_go_on(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "provide"))
        consumer = await client.consume(KEY)
        pids = []
        with trio.fail_after(PATIENCE):
            async for block in consumer:
                with block:
                    pid = int(bytes(block.data))
                if pid not in pids:
                    pids.append(pid)
                    if len(pids) == 4:
                        break
                    os.kill(pid, signal.SIGKILL)
        listed = await find(client, "provide", connected)
        assert (listed.id, listed.pid, listed.restarts) == (id, pids[-1], 3)
        assert consumer.statistics().takeovers == 3
        assert children_of(await server_pid(client)) == [pids[-1]]
        await client.end(id)
        await until(lambda: gone(client, "provide"))


@pytest.mark.parametrize("how", ["exit", "raise"])
async def test_client_that_crashes_too_often_is_given_up_and_says_so(
    options: ServerOptions, tmp_path: Path, how: str
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, how, respawns=2))
        listed = await find(client, how, lambda c: "not started again" in c.problem)
        status = {"exit": 3, "raise": 1}[how]
        assert (listed.id, listed.restarts, listed.pid) == (id, 2, 0)
        problem = (
            f"it crashed (exit status {status}), and is not started again: "
            "that was done 2 times in 60 s"
        )
        assert listed.problem == f"{problem}; what it wrote: {log_path(options)}"
        log = log_of(options)
        assert log.count(f"{how}: {how} began") == 3
        assert f"{how} ({id}): {problem}\n" in log
        assert children_of(await server_pid(client)) == []
        await client.end(id)
        assert await gone(client, how)


async def test_program_that_ends_without_having_connected_is_said_to_have_done_that(
    options: ServerOptions,
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(Launch(("true",), "true", respawns=0))
        listed = await find(client, "true", lambda c: bool(c.problem) and not c.pid)
        assert listed.problem == (
            "it ended without having connected, and is not started again: that was done 0 times "
            f"in 60 s; what it wrote: {log_path(options)}"
        )
        await client.end(id)


def test_level_of_a_line_that_a_client_writes_is_that_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory, end = open_output()
    output = Output("client", memory)
    os.write(end, b"WARNING: slow\nERROR some.where: lost\nINFO up\nDEBUG down\nplain\nINFORM")
    os.close(end)
    with caplog.at_level(logging.INFO):
        output.pass_on(last=True)
    output.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "client: slow"),
        ("ERROR", "client: some.where: lost"),
        ("INFO", "client: up"),
        ("INFO", "client: DEBUG down"),
        ("INFO", "client: plain"),
        ("INFO", "client: INFORM"),
    ]


async def test_server_that_yields_ends_what_has_not_connected_and_leaves_the_rest(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "provide"))
        provides = (await find(client, "provide", connected)).pid
        await client.run(launch(tmp_path, "silent"))
        silent = (await find(client, "silent")).pid
        server = await server_pid(client)
        shutil.rmtree(log_path(options).parents[1])
        await until(lambda: dead(server))
        assert not is_alive(silent)
        assert is_alive(provides)
        again = await find(client, "provide", connected)
        assert (again.id, again.pid) == (id, provides)
        await client.end(id)
        await until(lambda: gone(client, "provide"))


async def test_client_that_ends_in_order_is_not_started_again(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "finish"))
        await until(lambda: logged(options, f"finish ({id}): ended"))
        assert await gone(client, "finish")
        assert log_of(options).count("finish began") == 1


async def test_client_that_is_waiting_to_be_started_again_can_be_ended(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "exit", backoff=60.0))
        listed = await find(client, "exit", lambda c: c.pid == 0)
        assert "it crashed (exit status 3), and is started again; " in listed.problem
        await client.end(id)
        await until(lambda: gone(client, "exit"))


async def test_client_that_is_deaf_to_all_requests_is_killed(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "deaf"))
        listed = await find(client, "deaf", connected)
        await client.end(id)
        await until(lambda: gone(client, "deaf"))
        assert not is_alive(listed.pid)
        assert "did not end, and is killed" in log_of(options)


async def test_what_does_not_connect_in_time_is_ended_and_given_up(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with server_in_process(options, connect_timeout=0.3) as (_, _, client):
        await client.run(launch(tmp_path, "silent", respawns=1))
        listed = await find(client, "silent", lambda c: "not started again" in c.problem)
        assert (listed.restarts, "signal 15" in listed.problem) == (1, True)
        assert children() == []


async def test_program_that_cannot_be_started_is_refused(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        for command, reason in (
            ((str(tmp_path / "missing"),), "No such file"),
            ((str(tmp_path),), "Permission denied"),
            (("sleep", "a\0b"), "null byte"),
            ((), "no command"),
        ):
            with pytest.raises(FlowRefusedError, match=reason):
                await client.run(Launch(command, "wrong"))
        with pytest.raises(FlowRefusedError, match="period is 0"):
            await client.run(launch(tmp_path, "finish", period=0.0))
        with pytest.raises(FlowRefusedError, match="no machine moon"):
            await client.run(launch(tmp_path, "finish"), "moon")
        with pytest.raises(FlowRefusedError, match="id"):
            await client.run(launch(tmp_path, "finish", id=client.id))
        assert len(here(await client.look())) == 1


async def test_not_more_clients_are_started_than_the_bound(
    options: ServerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "MAX_LAUNCHED", 2)
    async with server_in_process(options) as (_, _, client):
        for _ in range(2):
            await client.run(launch(tmp_path, "silent"))
        with pytest.raises(FlowRefusedError, match="2 clients were started here"):
            await client.run(launch(tmp_path, "silent"))
        assert len(children()) == 2
    assert children() == []


async def test_clients_live_on_when_their_server_is_killed_and_the_next_looks_after_them(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "provide"))
        consumer = await client.consume(KEY)
        await consumer.receive()
        first = await find(client, "provide", connected)
        server = await server_pid(client)
        os.kill(server, signal.SIGKILL)
        again = await find(client, "provide", connected)
        assert (again.id, again.pid, again.launched) == (id, first.pid, True)
        assert await server_pid(client) != server
        await until(lambda: logged(options, f"process {first.pid} is looked after"))
        os.kill(first.pid, signal.SIGKILL)
        third = await find(client, "provide", lambda c: connected(c) and c.pid != first.pid)
        assert (third.id, third.restarts) == (id, 1)
        with trio.fail_after(PATIENCE):
            async for block in consumer:
                with block:
                    if int(bytes(block.data)) == third.pid:
                        break
        await client.end(id)
        await until(lambda: gone(client, "provide"))


async def test_adopted_client_that_ends_is_not_started_again_and_a_deaf_one_is_killed(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        ids = [await client.run(launch(tmp_path, b, b + "/x")) for b in ("provide", "deaf")]
        pids = [(await find(client, b, connected)).pid for b in ("provide", "deaf")]
        os.kill(await server_pid(client), signal.SIGKILL)
        for name in ("provide", "deaf"):
            await find(client, name, connected)
        for id in ids:
            await client.end(id)
        await until(lambda: gone(client, "provide"))
        await until(lambda: gone(client, "deaf"))
        assert [is_alive(pid) for pid in pids] == [False, False]
        await until(lambda: logged(options, f"provide: client {pids[0]} was asked to end"))
        assert log_of(options).count("began") == 2


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        (Launch(("sleep", "1"), "liar"), "was not started for it"),
        (Launch(("sleep", "1"), "liar", period=-1.0), "makes no sense"),
        (Launch((), "liar"), "makes no sense"),
    ],
)
async def test_client_that_only_claims_that_a_server_has_started_it_is_left_alone(
    options: ServerOptions, launch: Launch, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_in_process(options) as (_, supervisor, client):
        liar = FlowClient(
            Door(options, start=False), TrustEverybody(), name="liar", launch=launch, id="liar"
        )
        async with open_client(liar):
            listed = await find(client, "liar", connected)
            assert not listed.launched
            assert supervisor.clients == {}
            assert reason in caplog.text
            await client.end("liar")
            await liar.leaving.wait()


async def test_sigterm_ends_the_server_with_its_clients(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        await client.run(launch(tmp_path, "provide"))
        await client.run(launch(tmp_path, "exit", backoff=60.0))
        await find(client, "exit", lambda c: c.pid == 0)
        pid = (await find(client, "provide", connected)).pid
        server = await server_pid(client)
        os.kill(server, signal.SIGTERM)
        await until(lambda: dead(server))
        assert not is_alive(pid)
        await client.look()  # by a server that it has started, which is to know none of them
        assert len(here(await client.look())) == 1


async def dead(pid: int) -> bool:
    await trio.lowlevel.checkpoint()
    return not is_alive(pid)


async def test_ctrl_c_on_a_foreground_server_ends_its_clients_in_order(
    options: ServerOptions, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "eventgraph.flows.server", encode_options(options)]
    with (
        (tmp_path / "output").open("w") as output,
        subprocess.Popen(command, stderr=output, process_group=0) as server,  # noqa: ASYNC220
        killed_at_end(server.pid),
    ):
        await until(lambda: logged_in(tmp_path / "output", "serving"))
        async with open_flows(options, name="test", start=False) as client:
            assert await server_pid(client) == server.pid
            await client.run(launch(tmp_path, "provide"))
            pid = (await find(client, "provide", connected)).pid
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert await trio.to_thread.run_sync(server.wait, PATIENCE) == 0
    assert not is_alive(pid)
    assert f"provide: client {pid} was asked to end" in (tmp_path / "output").read_text()


async def logged_in(path: Path, text: str) -> bool:
    return text in await trio.Path(path).read_text()


async def test_provider_that_was_taken_over_ends_and_is_not_started_again(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        await client.run(launch(tmp_path, "provide"))
        pid = (await find(client, "provide", connected)).pid
        with await client.provide(KEY, FORMAT):
            await until(lambda: gone(client, "provide"))
        await until(lambda: logged(options, f"client {pid} was taken over"))
        assert log_of(options).count("began") == 1


async def test_provider_that_was_taken_over_and_does_not_end_is_killed(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        await client.run(launch(tmp_path, "deaf"))
        listed = await find(client, "deaf", connected)
        with await client.provide(KEY, FORMAT) as provider:
            began = trio.current_time()
            await until(lambda: gone(client, "deaf"))
            assert not is_alive(listed.pid)
            assert trio.current_time() - began > supervising.OBSOLETE_TIME
            assert provider.error is None
        assert log_of(options).count("began") == 1


async def test_children_of_a_client_end_with_it(options: ServerOptions, tmp_path: Path) -> None:
    async with open_flows(options, name="test") as client:
        await client.run(launch(tmp_path, "parent", respawns=0))
        pid = (await find(client, "parent", connected)).pid
        await until(lambda: runs(SLEEP, tmp_path))
        os.kill(pid, signal.SIGKILL)
        await find(client, "parent", lambda c: "not started again" in c.problem)
        assert children_of(await server_pid(client)) == []
        assert not await runs(SLEEP, tmp_path)


async def runs(program: str, tag: Path) -> bool:
    await trio.lowlevel.checkpoint()
    return bool(set(processes_about(program)) & set(processes_about(str(tag))))


async def test_client_that_a_script_starts_ends_with_the_script_and_without(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        inner = shlex.join(launch(tmp_path, "provide").command)
        command = ("sh", "-c", f"{inner}; echo the script goes on >&2; sleep 600")
        script = msgspec.structs.replace(launch(tmp_path, "provide"), command=command)
        id = await client.run(script)
        await find(client, "provide", connected)
        await client.end(id)
        await until(lambda: gone(client, "provide"))
        assert children_of(await server_pid(client)) == []
        assert "provide: the script goes on" in log_of(options)


async def test_what_a_client_starts_is_not_the_same_client(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "with-program"))
        await find(client, "with-program", connected)
        await until(lambda: exists(tmp_path / "told"))
        assert (tmp_path / "told").read_text() == "nothing"
        await client.end(id)
        await until(lambda: gone(client, "with-program"))


async def exists(path: Path) -> bool:
    return await trio.Path(path).exists()


async def test_output_of_a_client_is_bounded_in_the_log(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        id = await client.run(launch(tmp_path, "chatter"))
        await until(lambda: logged(options, "chatter: last words"))
        assert "bytes of output left out" in log_of(options)
        assert len(log_of(options)) < 10_000
        await client.end(id)
        await until(lambda: gone(client, "chatter"))


async def test_server_stays_for_the_clients_that_it_has_started(
    options: ServerOptions, tmp_path: Path
) -> None:
    async with open_flows(options, name="test") as client:
        server = await server_pid(client)
        id = await client.run(launch(tmp_path, "provide"))
        await find(client, "provide", connected)
    await trio.sleep(4 * options.idle_timeout)
    async with open_flows(options, name="test", start=False) as client:
        assert await server_pid(client) == server
        await client.end(id)
    assert await trio.to_thread.run_sync(ended, str(tmp_path), PATIENCE)
