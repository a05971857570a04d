"""Events to a node of a running graph are followed, over HTTP and by the command line."""

import json

import httpx
import pytest
import trio

from rtp.cli import main
from tests.server.test_http import assert_problem
from tests.server.test_latency import flowing, running

NODE = {"scope": "demo", "name": "fan"}


async def post(url: str, body: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return await client.post("/trace", json=body)


async def test_each_line_is_an_event_and_the_last_has_the_sums() -> None:
    async with flowing() as (url, _):
        answer = await post(url, {"node": NODE, "seconds": 0.4, "rate": 1000})
    assert answer.status_code == 200
    *events, end = map(json.loads, answer.content.splitlines())
    assert len(events) > 10
    assert {(e["sender"]["name"], e["outcome"], e["delivered"]) for e in events} == {
        ("source", "handled", 1)
    }
    assert all(e["waited"] >= 0 < e["handled"] for e in events)
    assert (end["type"], end["reason"], end["refused"]) == ("end", "time", 0)
    assert end["passed"] >= len(events)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "names no node"),
        ({"node": NODE, "rate": 0}, 422, "names no node"),
        ({"node": {"scope": "demo", "name": "nobody"}}, 404, "nobody@demo"),
    ],
)
async def test_what_cannot_be_followed_is_refused(body: object, status: int, words: str) -> None:
    async with running() as (url, _graph, _source):
        assert_problem(await post(url, body), status, words)


async def command(*arguments: str) -> int:
    return await trio.to_thread.run_sync(main, ["trace", *arguments])


async def test_the_command_prints_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    async with flowing() as (url, _):
        assert await command("fan@demo", "--url", url, "--seconds", "0.4") == 0
        assert await command("fan@demo", "--url", url, "--seconds", "0.2", "--json") == 0
    printed = capsys.readouterr()
    first, *_, last = printed.out.splitlines()
    assert first.startswith("queue ")
    assert "handled, 1 delivered  1 from source@demo" in first
    assert json.loads(last)["type"] == "end"
    assert "passed, 0 refused" in printed.err


async def test_what_does_not_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as (url, _graph, _source):
        assert await command("nobody@demo", "--url", url) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nobody@demo" in error
