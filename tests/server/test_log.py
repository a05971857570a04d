"""Levels of the log over HTTP and by the command line; what a real server writes."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from eventgraph import Graph
from rtp.cli import main
from rtp.logs.form import Redaction, TextForm
from rtp.logs.levels import LogLevels
from rtp.logs.output import LogOutput
from rtp.server.http import serve_http
from rtp.server.token import VARIABLE
from tests.server.serving import ANY_PORTS, serving
from tests.server.test_http import ANY_PORT, assert_problem, running

SECRET = "0123456789abcdef-secret"
AT_START = {"areas": {"": "warning", "eventgraph": "info", "rtp": "info"}, "scopes": {}}


@pytest.fixture
def output(tmp_path: Path) -> Iterator[LogOutput]:
    before = {name: logging.getLogger(name).level for name in ("", "eventgraph", "rtp")}
    with (tmp_path / "log").open("w") as stream:
        output = LogOutput(stream, TextForm(Redaction()), LogLevels("info"))
        yield output
        output.close()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("rtp.http").setLevel(logging.NOTSET)


@asynccontextmanager
async def edge(output: LogOutput) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Graph() as graph,
        running(partial(serve_http, graph, ANY_PORT, log=output)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def test_levels_are_shown_changed_and_reset(output: LogOutput) -> None:
    async with edge(output) as client:
        assert (await client.get("/log/levels")).json() == AT_START
        http_log = logging.getLogger("rtp.http")
        changed = await client.put("/log/levels", json={"area": "rtp.http", "level": "debug"})
        assert changed.json()["areas"]["rtp.http"] == "debug"
        assert http_log.isEnabledFor(logging.DEBUG)
        changed = await client.put("/log/levels", json={"scope": "a/b", "level": "error"})
        assert changed.json()["scopes"] == {"a/b": "error"}
        changed = await client.put("/log/levels", json={"scope": "a/b", "level": None})
        assert changed.json()["scopes"] == {}
        assert (await client.delete("/log/levels")).json() == AT_START
        assert not http_log.isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"area": "nowhere", "level": "debug"}, 404, "nothing logs as 'nowhere'"),
        ({"area": "rtp", "level": "loud"}, 422, "level"),
        ({"area": "rtp", "scope": "a", "level": "debug"}, 422, 'either an "area" or a "scope"'),
        ({"level": "debug"}, 422, 'either an "area" or a "scope"'),
        ({"area": "rtp", "level": "debug", "more": 1}, 422, "more"),
        ({"scope": "x" * 1001, "level": "debug"}, 422, "scope"),
    ],
)
async def test_change_that_cannot_be_made_is_a_problem(
    output: LogOutput, body: dict[str, object], status: int, detail: str
) -> None:
    async with edge(output) as client:
        assert_problem(await client.put("/log/levels", json=body), status, detail)
        assert_problem(await client.put("/log/levels", content=b"{"), 415, "application/json")
        headers = {"content-type": "application/json"}
        broken = await client.put("/log/levels", content=b"{", headers=headers)
        assert_problem(broken, 400, "no JSON")
        assert (await client.get("/log/levels")).json() == AT_START


async def test_command_shows_and_changes_levels(
    output: LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    async with edge(output) as client:
        url = str(client.base_url)

        async def run(*arguments: str) -> tuple[int, str, str]:
            status = await trio.to_thread.run_sync(main, ["log-level", *arguments, "--url", url])
            said = capsys.readouterr()
            return status, said.out, said.err

        start = "warning  (all others)\ninfo     eventgraph\ninfo     rtp\n"
        assert await run() == (0, start, "")
        assert await run("debug", "--scope", "a\nb") == (0, start + "debug    scope a\\nb\n", "")
        assert (await run("error"))[1].splitlines()[1:3] == ["error    eventgraph", "error    rtp"]
        assert await run("reset") == (0, start, "")
        status, _, error = await run("debug", "--area", "nowhere")
        assert (status, error.count("\n")) == (1, 1)
        assert "nothing logs as 'nowhere'" in error
        assert (await run("debug", "--area", "rtp", "--scope", "a"))[0] == 1
        assert (await run("--area", "rtp"))[0] == 1


def test_token_is_in_no_record_whatever_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    settings = ANY_PORTS + '[log]\nformat = "json"\nlevel = "debug"\n'
    # What it logs of this has the token in it, as somebody may have pasted it to a wrong place.
    settings += (
        f'[flows]\napplication = "{SECRET}"\nruntime_directory = "{tmp_path}/none/{SECRET}"\n'
    )
    with serving(tmp_path, settings) as server:
        headers = {"authorization": f"Bearer {SECRET}"}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
            for area in ("", "hypercorn", "asyncio", "aiortc"):
                client.put("/log/levels", json={"area": area, "level": "debug"})
            assert client.get("/log/levels").json()["areas"][""] == "debug"
            client.get(f"/nowhere?token={SECRET}")
            client.post(f"/rooms/{SECRET}", content="v=0", headers={"content-type": "text/plain"})
            client.get("/graph", headers={"authorization": f"Bearer {SECRET}x"})
            assert client.get("/metrics").status_code == 200
        status, errors = server.end()
    assert status == 0
    for line in errors.splitlines():
        assert json.loads(line).keys() >= {"time", "level", "area", "message"}
    assert "[secret]" in errors
    assert SECRET not in errors
