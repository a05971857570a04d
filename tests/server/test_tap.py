"""Events of a running graph as they pass, over HTTP, and by the command line."""

import json
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest
import trio

from eventgraph import Address, Event
from eventgraph.listening import is_heard
from rtp.cli import main
from rtp.remote.seen_events import SeenEvent, TapEnd
from rtp.server import taps
from tests.server.test_http import assert_problem
from tests.server.test_latency import flowing, running

SINK = {"scope": "demo", "name": "sink"}
FAN = {"scope": "demo", "name": "fan"}
BODY = {"receiver": SINK, "seconds": 0.4, "rate": 1000}


async def post(url: str, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        return await client.post("/tap", content=content, headers=sent)


def lines(answer: httpx.Response) -> tuple[list[SeenEvent], TapEnd]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    *events, end = (
        msgspec.json.decode(line, type=SeenEvent | TapEnd) for line in answer.content.splitlines()
    )
    assert isinstance(end, TapEnd)
    seen = [event for event in events if isinstance(event, SeenEvent)]
    assert len(seen) == len(events)
    return seen, end


async def test_what_is_delivered_to_a_node_is_shown_line_by_line() -> None:
    async with flowing() as (url, _):
        seen, end = lines(await post(url, BODY))
    assert len(seen) > 10
    assert {(e.sender.name, e.receiver.name, e.cmd, e.object) for e in seen} == {
        ("fan", "sink", 1, "None")
    }
    assert [e.time for e in seen] == sorted(e.time for e in seen)
    assert end.reason == "time"
    assert end.counts.taken == len(seen)


async def test_one_link_and_some_of_many_events() -> None:
    async with flowing() as (url, _):
        seen, end = lines(await post(url, {**BODY, "sender": FAN, "rate": 10}))
        assert 1 <= len(seen) <= 6
        assert end.counts.skipped == end.counts.passed - len(seen) > 10
        nobody, end = lines(await post(url, {**BODY, "sender": SINK}))
        assert (nobody, end.counts.passed) == ([], 0)


async def test_it_is_over_when_the_node_has_left_and_nothing_is_left_of_it() -> None:
    async with running() as (url, graph, _), trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await post(url, {**BODY, "seconds": 60}))

        nursery.start_soon(ask)
        sink = graph._runtime.topology.find(Address("demo", "sink"))
        with trio.fail_after(5):
            while not is_heard(sink):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.005)
            sink.delegate.request_exit()  # type: ignore[attr-defined]  # of a runner
            while not answers:  # noqa: ASYNC110  # as above
                await trio.sleep(0.005)
        assert lines(answers[0])[1].reason == "the node has left"


async def test_who_hangs_up_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "MAX_TAPS", 1)
    async with flowing() as (url, graph):
        sink = graph._runtime.topology.find(Address("demo", "sink"))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            wanted = {**BODY, "seconds": 60}
            async with client.stream("POST", "/tap", json=wanted) as answer:
                assert answer.status_code == 200
                while not is_heard(sink):  # noqa: ASYNC110  # as below
                    await trio.sleep(0.005)
                refused = await post(url, BODY)
                assert_problem(refused, 503, "1 taps are open already")
        with trio.fail_after(5):
            while is_heard(sink):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.005)
        assert lines(await post(url, BODY))[0]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "no JSON"),
        ({}, 422, "names no node"),
        ({**BODY, "seconds": 3601}, 422, "names no node"),
        ({**BODY, "rate": 0}, 422, "names no node"),
        ({**BODY, "length": 10**9}, 422, "names no node"),
        ({**BODY, "more": 1}, 422, "names no node"),
        ({"receiver": {"scope": "demo", "name": "nobody"}}, 404, "nobody@demo"),
    ],
)
async def test_what_cannot_be_shown_is_refused(body: Any, status: int, words: str) -> None:
    async with running() as (url, _graph, _source):
        assert_problem(await post(url, body), status, words)


async def test_a_form_of_another_site_cannot_ask() -> None:
    async with running() as (url, _graph, _source):
        answer = await post(url, BODY, **{"content-type": "text/plain"})
        assert_problem(answer, 415, "application/json")


async def command(*arguments: str) -> int:
    return await trio.to_thread.run_sync(main, ["tap", *arguments])


async def test_the_command_prints_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as (url, _, source), trio.open_nursery() as nursery:

        async def feed() -> None:
            while True:
                source.broadcast(Event(24, bytes(1000)))
                await trio.sleep(0.01)

        nursery.start_soon(feed)
        ends = "fan@demo", "sink@demo"
        assert await command(*ends, "--url", url, "--seconds", "0.4", "--length", "20") == 0
        nursery.cancel_scope.cancel()
    printed = capsys.readouterr()
    words = printed.out.splitlines()[0].split()
    assert words[1:6] == ["fan@demo", "->", "sink@demo", "24", r"b'\x00\x00\x00\x00\…"]
    assert "passed:" in printed.err


async def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    async with flowing() as (url, _):
        assert await command("sink@demo", "--url", url, "--seconds", "0.3", "--json") == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert json.loads(first)["sender"] == {"scope": "demo", "name": "fan"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("sink",), "give NAME@SCOPE"), (("nobody@demo",), "there is no node at nobody@demo")],
)
async def test_what_does_not_work_is_one_line_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    async with running() as (url, _graph, _source):
        assert await command(*arguments, "--url", url) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("path", ["/tap", "/trace", "/record"])
async def test_a_server_that_ends_does_not_wait_for_who_watches(path: str) -> None:
    wanted = {
        "/tap": {"receiver": SINK, "seconds": 3600},
        "/trace": {"node": SINK, "seconds": 3600},
        "/record": {"links": [{"receiver": SINK}], "seconds": 3600},
    }[path]
    opened, ended = trio.Event(), trio.Event()

    async def watch(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            with suppress(httpx.HTTPError):  # it is cut off
                async with client.stream("POST", path, json=wanted) as answer:
                    opened.set()
                    await answer.aread()
        ended.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with flowing() as (url, graph):
                nursery.start_soon(watch, url)
                await opened.wait()
                sink = graph._runtime.topology.find(Address("demo", "sink"))
            await ended.wait()
            assert not is_heard(sink)
