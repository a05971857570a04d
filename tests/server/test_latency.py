"""The latencies of a running graph over HTTP, and by the command line."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import trio

from eventgraph import Address, Event, Graph, GraphSnapshot, Node, NodeDelegate
from eventgraph.hop_times import RouteTimes
from rtp.cli import main
from rtp.nodes import Forwarder
from rtp.remote.asking import RemoteError
from rtp.remote.latency import find_route
from tests.server.test_http import assert_problem, serving

NAMES = ("source", "fan", "sink")
ROUTE = [{"scope": "demo", "name": name} for name in NAMES]
BODY = {"route": ROUTE, "seconds": 0.3, "rate": 200}


class Source(Node):
    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate


@asynccontextmanager
async def running() -> AsyncIterator[tuple[str, Graph, NodeDelegate]]:
    """A server with three nodes in a row; its URL."""
    async with Graph() as graph:
        source = graph.add_node(Source("demo", "source"))
        fan = graph.add_node(Forwarder("demo", "fan"))
        graph.add_node(Node("demo", "sink"))
        source.request_link_up("demo", "fan")
        fan.request_link_up("demo", "sink")
        async with serving(graph) as url:
            yield url, graph, source


async def feed(source: NodeDelegate) -> None:
    while True:
        source.broadcast(Event(1))
        await trio.sleep(0.005)


@asynccontextmanager
async def flowing() -> AsyncIterator[tuple[str, Graph]]:
    """The same, with events."""
    async with running() as (url, graph, source), trio.open_nursery() as nursery:
        nursery.start_soon(feed, source)
        yield url, graph
        nursery.cancel_scope.cancel()


async def post(url: str, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        return await client.post("/latency", content=content, headers=sent)


async def test_events_that_pass_tell_where_their_time_goes() -> None:
    async with flowing() as (url, _):
        answer = await post(url, BODY)
    assert answer.status_code == 200
    times = msgspec.json.decode(answer.content, type=RouteTimes)
    assert times.probes > 5
    assert [hop.node for hop in times.hops] == [Address("demo", "fan"), Address("demo", "sink")]
    assert times.end_to_end is not None
    assert times.sum == pytest.approx(times.end_to_end.mean, rel=0.01)


async def test_where_nothing_passes_probes_are_sent() -> None:
    async with running() as (url, _graph, _source):
        none = msgspec.json.decode((await post(url, BODY)).content, type=RouteTimes)
        assert (none.probes, none.hops) == (0, [])
        sent = await post(url, {**BODY, "probes": "send"})
        assert msgspec.json.decode(sent.content, type=RouteTimes).probes > 5


async def test_one_measurement_at_a_time() -> None:
    async with running() as (url, graph, _), trio.open_nursery() as nursery:
        nursery.start_soon(post, url, {**BODY, "seconds": 1})
        with trio.fail_after(5):
            while graph._runtime.tracer is None:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.005)
        answer = await post(url, BODY)
        assert_problem(answer, 503, "being traced already")
        assert answer.headers["retry-after"] == "30"
    async with running() as (url, _graph, _source):
        assert (await post(url, {**BODY, "seconds": 0.01})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "no JSON"),
        ({"route": ROUTE[:1]}, 422, "no route"),
        ({"route": ROUTE * 11}, 422, "no route"),
        ({"route": [ROUTE[0], ROUTE[0]]}, 422, "none of them twice"),
        ({**BODY, "seconds": 31}, 422, "no route"),
        ({**BODY, "rate": 0}, 422, "no route"),
        ({**BODY, "probes": "many"}, 422, "no route"),
        ({**BODY, "more": 1}, 422, "no route"),
        ({"route": [ROUTE[0], ROUTE[2]]}, 404, "sink@demo"),
        ({"route": [ROUTE[0], {"scope": "demo", "name": "nobody"}]}, 404, "nobody@demo"),
    ],
)
async def test_what_cannot_be_measured_is_refused(body: Any, status: int, words: str) -> None:
    async with running() as (url, graph, _):
        assert_problem(await post(url, body), status, words)
        assert graph._runtime.tracer is None


async def test_a_form_of_another_site_cannot_ask() -> None:
    async with running() as (url, _graph, _source):
        answer = await post(url, BODY, **{"content-type": "text/plain"})
        assert_problem(answer, 415, "application/json")


async def command(*arguments: str) -> int:
    return await trio.to_thread.run_sync(main, ["bench", "latency", *arguments])


async def test_the_command_shows_each_hop_of_the_longest_route(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with flowing() as (url, _):
        assert await command("--url", url, "--seconds", "0.3") == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "events from source@demo, in µs" in lines[0]
    assert [line.split()[:2] for line in lines[2:6:2]] == [
        ["fan@demo", "queue"],
        ["sink@demo", "queue"],
    ]
    assert lines[-1].startswith("difference")
    assert float(lines[-1].split()[-1].rstrip("%")) <= 1


async def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as (url, _graph, _source):
        ends = "source@demo", "fan@demo"
        assert await command(*ends, "--url", url, "--seconds", "0.2", "--send", "--json") == 0
    times = msgspec.json.decode(capsys.readouterr().out, type=RouteTimes)
    assert [hop.node.name for hop in times.hops] == ["fan"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("source",), "give NAME@SCOPE"),
        (("nobody@demo",), "there is no node nobody@demo"),
        (("sink@demo",), "no links lead from sink@demo to any other"),
        (("sink@demo", "source@demo"), "no links lead from sink@demo to source@demo"),
        (("--seconds", "0.1"), "no event went all the way in 0.1 s (none passed)"),
    ],
)
async def test_what_does_not_work_is_one_line_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    async with running() as (url, _graph, _source):
        assert await command(*arguments, "--url", url) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


async def test_a_route_goes_where_events_went() -> None:
    async with Graph() as graph:
        delegates = {name: graph.add_node(Forwarder("demo", name)) for name in "abcde"}
        for sender, receiver in ("ab", "bc", "ad", "de", "ec"):
            delegates[sender].request_link_up("demo", receiver)
        a, b, c, d, e = (Address("demo", name) for name in "abcde")

        def route(sender: Address | None = None, receiver: Address | None = None) -> list[Address]:
            return find_route(graph.snapshot(), sender, receiver)

        assert route(a, c) == [a, b, c]  # nothing has passed yet: the shortest
        assert route(None, e) == [a, d, e]
        for sender, receiver in ("ad", "de", "ec"):
            (link,) = (n for n, to in delegates[sender].links.items() if to.name == receiver)
            delegates[sender].deliver(link, Event(1))
        await trio.testing.wait_all_tasks_blocked()
        assert route()[0] == a


def test_no_graph_no_route() -> None:
    empty = msgspec.json.decode(
        b'{"nodes":[],"links":[],"totals":{},"crash_count":0,"crashes":[]}', type=GraphSnapshot
    )
    with pytest.raises(RemoteError, match="no links lead from any node to any other"):
        find_route(empty, None, None)


def test_help_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "latency", "--help"]) == 0
    assert "--send" in capsys.readouterr().out
