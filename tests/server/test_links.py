"""Links changed over HTTP, and the graph watched as it changes."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from eventgraph import Address, Event, Graph, Node
from rtp.server import live
from tests.server.test_http import assert_problem, connect, serving

A, B = Address("a b", "tone & more"), Address("demo", "日本")
BODY = {
    "sender": {"scope": A.scope, "name": A.name},
    "receiver": {"scope": B.scope, "name": B.name},
}

EVENT = re.compile(rb"event: (\w+)\nid: \d+\ndata: (.*)\n\n")


class Failing(Node):
    def on_event(self, event: Event) -> None:
        raise ValueError("no")


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Graph, httpx.AsyncClient]]:
    async with Graph() as graph:
        graph.add_node(Node(A.scope, A.name))
        graph.add_node(Failing(B.scope, B.name))
        async with (
            serving(graph) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            yield graph, client


async def test_link_is_put_up_and_taken_down_where_its_location_says() -> None:
    async with pair() as (graph, client):
        response = await client.post("/links", json=BODY)
        assert response.status_code == 201
        (link,) = graph.snapshot().links
        assert response.json() == {"id": link.id, **BODY}
        assert (link.sender, link.receiver) == (A, B)
        assert_problem(await client.post("/links", json=BODY), 409, "linked")
        assert (await client.delete(response.headers["location"])).status_code == 204
        await wait_all_tasks_blocked(0.01)
        assert graph.snapshot().links == []
        assert (await client.delete(response.headers["location"])).status_code == 404


async def test_node_that_there_is_not_is_not_found() -> None:
    async with pair() as (_, client):
        body = {**BODY, "receiver": {"scope": "demo", "name": "nobody"}}
        assert_problem(await client.post("/links", json=body), 404, "nobody@demo")


async def test_full_table_is_a_conflict() -> None:
    async with pair() as (graph, client):
        full = Node("demo", "full")
        full.max_links = 1
        graph.add_node(full)
        graph.link_up(Address("demo", "full"), A)
        body = {**BODY, "sender": {"scope": "demo", "name": "full"}}
        assert_problem(await client.post("/links", json=body), 409, "full")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"sender": {"scope": "\xff", "name": "x"}}', "application/json", 400),
        (b"{}", "application/json", 422),
        (b"[]", "application/json", 422),
        (json.dumps({**BODY, "x": 1}).encode(), "application/json", 422),
        (
            json.dumps({**BODY, "sender": {"scope": "", "name": "x"}}).encode(),
            "application/json",
            422,
        ),
        (json.dumps(BODY).encode(), "text/plain", 415),
        (json.dumps(BODY).encode(), "application/x-www-form-urlencoded", 415),
    ],
)
async def test_body_that_is_no_link_is_refused(content: bytes, kind: str, status: int) -> None:
    async with pair() as (graph, client):
        response = await client.post("/links", content=content, headers={"content-type": kind})
        assert_problem(response, status, "")
        assert graph.snapshot().links == []


@pytest.mark.parametrize("query", ["", "?sender_scope=a", "?" + "sender_scope=a&" * 4])
async def test_link_that_is_not_named_is_refused(query: str) -> None:
    async with pair() as (_, client):
        assert_problem(await client.delete(f"/links{query}"), 400, "receiver_name")


class Watcher:
    """A client of /graph/events; without the generators of httpx, which must be read to the end."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._text = b""

    async def next(self) -> tuple[str, Any]:
        """The next event: its name and its data."""
        while not (found := EVENT.search(self._text)):
            self._text += await self._stream.receive_some()
        self._text = self._text[found.end() :]
        return found[1].decode(), json.loads(found[2])


@asynccontextmanager
async def watching(client: httpx.AsyncClient) -> AsyncIterator[Watcher]:
    async with await connect(str(client.base_url)) as stream:
        await stream.send_all(b"GET /graph/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        yield Watcher(stream)


async def test_watcher_is_told_of_changes_and_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveGraph, "interval", 0.02)
    async with pair() as (graph, client), watching(client) as watcher:
        assert await watcher.next() == ("crashes", [])
        name, snapshot = await watcher.next()
        assert (name, len(snapshot["nodes"]), snapshot["links"]) == ("graph", 2, [])
        graph.link_up(A, B)
        name, snapshot = await watcher.next()
        assert (name, len(snapshot["links"])) == ("graph", 1)
        crashing = graph.add_node(Failing("demo", "crashing"))
        crashing.deliver_self(Event(1))
        while name != "crashes":
            name, crashes = await watcher.next()
        assert "ValueError: no" in crashes[0]["traceback"]


async def test_graph_that_stays_as_it_is_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveGraph, "interval", 0.01)
    async with pair() as (_, client), watching(client) as watcher:
        await watcher.next()
        await watcher.next()
        with trio.move_on_after(0.2) as waiting:
            await watcher.next()
        assert waiting.cancelled_caught


async def test_more_watchers_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveGraph, "max_watchers", 1)
    async with pair() as (_, client):
        async with client.stream("GET", "/graph/events"):
            assert_problem(await client.get("/graph/events"), 503, "1 watch already")
        await wait_all_tasks_blocked(0.05)
        async with client.stream("GET", "/graph/events") as again:
            assert again.status_code == 200


async def test_watcher_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveGraph, "interval", 0.01)
    async with pair() as (graph, client), watching(client), watching(client) as watcher:
        for number in range(5):
            await watcher.next()
            graph.add_node(Node("more", str(number)))


async def test_watcher_does_not_hold_up_the_exit() -> None:
    async with Graph() as graph:
        async with serving(graph) as url:
            stream = await connect(url)
            await stream.send_all(b"GET /graph/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert await stream.receive_some()
        async with stream:  # its answer was ended, not cut off
            text = b"".join([data async for data in stream])
        assert text.endswith(b"0\r\n\r\n")
