"""Flows over HTTP: what there is, and clients that are started and ended."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from eventgraph import Graph
from eventgraph.pipes import Binding
from rtp.server import flows
from rtp.server.config import FlowsConfig, Host, HttpConfig, Token
from rtp.server.errors import StartError
from rtp.server.flows import open_flow_view
from rtp.server.http import serve_http
from tests.flows.command_line import FlowCommandLine, open_flow_command_line
from tests.pipes.command_line import CALL, LIMIT, wait_for_line
from tests.server.serving import ANY_PORTS
from tests.server.serving import serving as serving_process
from tests.server.test_http import assert_problem, running

TONE = (sys.executable, "-c", CALL, "flows", "provide", "lab/tone", "--tone", "440")
ANY_PORT = HttpConfig(port=0)


@pytest.fixture
def shell() -> Iterator[FlowCommandLine]:
    with open_flow_command_line() as commands:
        server = commands.start("serve")
        wait_for_line(server.stdout, "serving tests of me")
        yield commands


def config_of(shell: FlowCommandLine, **more: Any) -> FlowsConfig:
    return FlowsConfig(
        application="tests",
        user="me",
        runtime_directory=str(shell.directory / "run"),
        registry=f"embedded:{shell.directory}/registry.sock",
        clients={"tone": TONE, "nothing": ("/no/such/program",)},
        **more,
    )


@asynccontextmanager
async def edge(
    config: FlowsConfig, http: HttpConfig = ANY_PORT
) -> AsyncIterator[httpx.AsyncClient]:
    async with Graph() as graph:
        serve = partial(serve_http, graph, http, flows=open_flow_view(config))
        async with (
            running(serve) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=LIMIT) as client,
        ):
            yield client


async def wait_for(client: httpx.AsyncClient, *names: str) -> Any:
    """Until just these clients are there: what GET /flows says then."""
    with trio.fail_after(LIMIT):
        while True:
            response = await client.get("/flows")
            if response.status_code == 200:
                body = response.json()
                there = [c["name"] for machine in body["machines"] for c in machine["clients"]]
                if sorted(there) == sorted(names):
                    return body
            await trio.sleep(0.05)


async def test_flows_are_shown_with_their_map(shell: FlowCommandLine) -> None:
    shell.start("provide", "lab/tone", "--tone", "440", "--name", "microphone")
    await trio.to_thread.run_sync(shell.wait_for_flow, "lab/tone")
    async with edge(config_of(shell)) as client:
        body = await wait_for(client, "microphone")
        assert (body["application"], body["user"], body["problem"]) == ("tests", "me", "")
        assert body["commands"] == ["tone", "nothing"]
        (flow,) = body["machines"][0]["flows"]
        assert flow["key"] == {"group": "lab", "name": "tone"}
        assert flow["provider"] == "microphone"
        boxes = {box["id"]: box for box in body["map"]["boxes"]}
        (arrow,) = body["map"]["arrows"]
        assert boxes[arrow["sender"]]["name"] == "microphone"
        assert boxes[arrow["receiver"]]["kind"] == "flow"


async def test_client_is_started_and_ended(shell: FlowCommandLine) -> None:
    async with edge(config_of(shell)) as client:
        await wait_for(client)
        started = await client.post("/flows/clients", json={"name": "tone"})
        assert started.status_code == 201
        assert started.json()["name"] == "tone"
        body = await wait_for(client, "tone")
        (one,) = body["machines"][0]["clients"]
        assert started.headers["location"] == f"/flows/clients/{one['id']}"
        assert one["launched"]
        assert (await client.delete(started.headers["location"])).status_code == 204
        await wait_for(client)
        assert_problem(await client.delete(started.headers["location"]), 404, "no client with")


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b'{"name": "tone"}', "text/plain", 415, "application/json"),
        (b'{"name": "tone"}', "application/x-www-form-urlencoded", 415, "application/json"),
        (b"{", "application/json", 400, "no JSON"),
        (b"[]", "application/json", 422, "names no client"),
        (b'{"name": 1}', "application/json", 422, "names no client"),
        (b'{"name": "tone", "command": ["id"]}', "application/json", 422, "command"),
        (b'{"command": ["id"]}', "application/json", 422, "command"),
        (b'{"name": "id"}', "application/json", 404, "has no 'id'; it has: tone, nothing"),
    ],
)
async def test_nothing_is_run_that_the_configuration_does_not_name(
    shell: FlowCommandLine, content: bytes, kind: str, status: int, detail: str
) -> None:
    async with edge(config_of(shell)) as client:
        headers = {"content-type": kind}
        response = await client.post("/flows/clients", content=content, headers=headers)
        assert_problem(response, status, detail)
        assert_problem(await client.put("/flows/clients"), 405, "does not take PUT")


async def test_program_that_cannot_be_run_is_a_problem(shell: FlowCommandLine) -> None:
    async with edge(config_of(shell)) as client:
        await wait_for(client)
        response = await client.post("/flows/clients", json={"name": "nothing"})
        assert_problem(response, 409, "/no/such/program")


async def test_strangers_start_nothing(shell: FlowCommandLine) -> None:
    token = "0123456789-abcdef-secret"
    body = {"name": "tone"}
    async with edge(config_of(shell), HttpConfig(port=0, token=Token(token))) as client:
        for request in (client.get("/flows"), client.post("/flows/clients", json=body)):
            assert_problem(await request, 401, "token")
        headers = {"origin": "https://evil.example", "authorization": f"Bearer {token}"}
        response = await client.post("/flows/clients", json=body, headers=headers)
        assert_problem(response, 403, "")
        client.headers["authorization"] = f"Bearer {token}"
        assert await wait_for(client)


@asynccontextmanager
async def following(client: httpx.AsyncClient) -> AsyncIterator[list[Any]]:
    """What the events say, as it comes."""
    seen: list[Any] = []

    async def follow() -> None:
        async with client.stream("GET", "/flows/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        yield seen
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    deadline = trio.current_time() + LIMIT
    while not condition():
        assert trio.current_time() < deadline
        await trio.sleep(0.05)


async def test_events_tell_of_changes(shell: FlowCommandLine) -> None:
    async with edge(config_of(shell)) as client:
        await wait_for(client)
        async with following(client) as seen:
            await until(lambda: seen)
            assert seen[0]["map"]["boxes"] == []
            shell.start("consume", "lab/x", "--name", "ear")
            await until(lambda: seen[-1]["map"]["boxes"])
            assert seen[-1]["map"]["boxes"][0]["name"] == "ear"


async def test_server_of_flows_that_dies_is_replaced(shell: FlowCommandLine) -> None:
    shell.start("consume", "lab/x", "--name", "ear")
    async with edge(config_of(shell)) as client:
        before = (await wait_for(client, "ear"))["machines"][0]["pid"]
        os.kill(before, signal.SIGKILL)
        assert (await wait_for(client, "ear"))["machines"][0]["pid"] != before


async def test_client_of_the_media_server_comes_back(
    shell: FlowCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "RETRY", 0.05)
    async with edge(config_of(shell)) as client:
        await wait_for(client)
        done = await trio.to_thread.run_sync(shell.run, "end", "media server")
        assert done.returncode == 0, done.stderr
        await wait_for(client)


async def test_without_flows_the_media_server_goes_on_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "RETRY", 0.05)
    config = FlowsConfig(application="tests", runtime_directory=str(tmp_path / "none"), registry="")
    async with edge(config) as client:
        async with following(client) as seen:
            await until(lambda: seen and "no runtime directory" in seen[-1]["problem"])
        response = await client.get("/flows")
        assert_problem(response, 503, "no runtime directory")
        response = await client.post("/flows/clients", json={"name": "tone"})
        assert_problem(response, 404, "it has: none")
        assert_problem(await client.delete("/flows/clients/x"), 503, "no runtime directory")
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (FlowsConfig(clients={"x": ("y",)}), "flows.application is not: set it"),
        (FlowsConfig(application="a b"), "the application 'a b' must be"),
        (FlowsConfig(application="a", secret_file="/no/secret"), "/no/secret"),
        (FlowsConfig(application="a", ca="x"), "go together: set all three"),
        (FlowsConfig(application="a", ports="x"), "--ports x: expected a port"),
        (FlowsConfig(application="a", ports="9-5"), "ports 9-5 are no range"),
        (
            FlowsConfig(application="a", secret_file="s", ca="x", certificate="y", key="z"),
            "choose one",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named_at_the_start(config: FlowsConfig, why: str) -> None:
    with pytest.raises(StartError, match=why) as caught:
        open_flow_view(config)
    assert "\n" not in str(caught.value)


def test_server_of_flows_listens_where_the_settings_say() -> None:
    config = FlowsConfig(application="a", host=Host("10.0.0.1"), ports="5000", advertise="east")
    view = open_flow_view(config)
    assert view is not None
    binding = Binding(host="10.0.0.1", ports=(5000, 5000), advertise="east")
    assert view.options.binding == binding


async def test_without_settings_there_is_no_page_and_no_way_to_it() -> None:
    async with edge(FlowsConfig()) as client:
        for path in ("/flows", "/flows/events", "/page/flows.html"):
            assert (await client.get(path)).status_code == 404
        for path in ("/page/index.html", "/page/graph.html"):
            text = (await client.get(path)).text
            assert "flows.html" not in text
            assert "</a></nav>" in text
        assert "/flows" not in (await client.get("/")).text


async def test_real_server_shows_flows_as_it_is_configured(
    shell: FlowCommandLine, tmp_path: Path
) -> None:
    settings = f"""{ANY_PORTS}
[flows]
application = "tests"
user = "me"
runtime_directory = "{shell.directory}/run"
registry = "embedded:{shell.directory}/registry.sock"
[flows.clients]
tone = {json.dumps(TONE)}
"""

    def start_a_client_and_end() -> tuple[int, str]:
        with serving_process(tmp_path, settings) as server:
            with httpx.Client(base_url=server.url, trust_env=False, timeout=LIMIT) as client:
                assert "POST /flows/clients" in client.get("/").text
                assert "flows.html" in client.get("/page/graph.html").text
                while client.get("/flows").status_code == 503:
                    pass
                assert client.post("/flows/clients", json={"name": "tone"}).status_code == 201
                shell.wait_for_flow("lab/tone")
                assert client.get("/flows").json()["machines"][0]["flows"]
            return server.end()

    assert await trio.to_thread.run_sync(start_a_client_and_end) == (0, "")
