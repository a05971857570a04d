"""Rules of streams over HTTP, and the file that keeps them."""

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from eventgraph import Address, Graph, Node
from eventgraph.streams import Rule, Streams
from rtp.server import rules, rules_file
from rtp.server.config import HttpConfig, StreamsConfig
from rtp.server.errors import StartError
from rtp.server.http import serve_http
from rtp.server.rules import open_rules
from rtp.server.rules_file import RulesFile
from tests.server.serving import ANY_PORTS
from tests.server.serving import serving as serving_process
from tests.server.test_http import assert_problem, running

A, B, X = (Address("s", name) for name in "abx")
JSON = {"content-type": "application/json"}


class Edge:
    def __init__(self, graph: Graph, streams: Streams, http: httpx.AsyncClient) -> None:
        self.graph = graph
        self.streams = streams
        self.http = http

    def links(self) -> set[str]:
        return {x.sender.name + x.receiver.name for x in self.graph.snapshot().links if x.up}

    async def put(self, stream: str, *feeds: str) -> httpx.Response:
        return await self.http.put(f"/rules/{stream}", json={"feeds": feeds})

    async def rules(self) -> dict[str, list[str]]:
        response = await self.http.get("/rules")
        assert response.headers["content-type"] == "application/json"
        return {rule["stream"]: rule["feeds"] for rule in response.json()}


@asynccontextmanager
async def edge(path: Path | str = "") -> AsyncIterator[Edge]:
    """Two feeds and a client of ``stream/talk``."""
    async with Graph() as graph:
        for address in (A, B, X):
            graph.add_node(Node(address.scope, address.name))
        streams = Streams(graph)
        streams.add_feed(None, A)
        streams.add_feed(None, B)
        streams.register(X, "stream/talk")
        served = open_rules(streams, StreamsConfig(rules_file=str(path)))
        serve = partial(serve_http, graph, HttpConfig(port=0), rules=served)
        async with (
            running(serve) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            yield Edge(graph, streams, client)


async def test_rule_is_made_replaced_listed_and_deleted() -> None:
    async with edge() as it:
        made = await it.put("talk", "s/a")
        assert (made.status_code, made.json()) == (201, {"stream": "talk", "feeds": ["s/a"]})
        assert it.links() == {"ax"}
        replaced = await it.put("talk", "s/b", "s/later")
        assert (replaced.status_code, it.links()) == (200, {"bx"})
        assert (await it.put("empty")).status_code == 201
        assert await it.rules() == {"talk": ["s/b", "s/later"], "empty": []}
        deleted = await it.http.delete("/rules/talk")
        assert (deleted.status_code, it.links()) == (204, set())
        assert_problem(await it.http.delete("/rules/talk"), 404, "talk")
        await it.put("talk", "s/a")
        assert (await it.http.delete("/rules")).status_code == 204
        assert (await it.rules(), it.links()) == ({}, set())


async def test_streams_are_shown_with_feeds_clients_and_links() -> None:
    async with edge() as it:
        await it.put("talk", "s/a")
        shown = (await it.http.get("/streams")).json()
        none: dict[str, Any] = {"offered": 0, "handled": 0, "queued": 0, "dropped": {}}
        a, x = ({"scope": "s", "name": name} for name in "ax")
        assert shown["feeds"][0] == {"name": "s/a", "address": a, "there": True, "counts": none}
        assert shown["rules"] == [{"stream": "talk", "feeds": ["s/a"]}]
        assert shown["clients"] == [
            {"address": x, "sources": ["stream/talk"], "there": True, "counts": none}
        ]
        assert shown["links"] == [
            {"feed": a, "client": x, "state": "up", "wanted": 1, "counts": none}
        ]


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b'{"feeds": []}', "text/plain", 415, "application/json"),
        (b'{"feeds": []}', "application/x-www-form-urlencoded", 415, "application/json"),
        (b"{", "application/json", 400, "no JSON"),
        (b"\xff", "application/json", 400, "no JSON"),
        (b'{"feeds": ["\xff"]}', "application/json", 400, "no JSON"),
        (b"[]", "application/json", 422, "no rule"),
        (b"{}", "application/json", 422, "feeds"),
        (b'{"feeds": [1]}', "application/json", 422, "feeds"),
        (b'{"feeds": [], "x": 1}', "application/json", 422, "x"),
        (b'{"feeds": ["a", "a"]}', "application/json", 422, "twice"),
        (b'{"feeds": [""]}', "application/json", 422, "no name for a feed"),
        (b'{"feeds": ["a\\u0000"]}', "application/json", 422, "no name for a feed"),
        (b'{"feeds": ["stream/other"]}', "application/json", 422, "no stream is part"),
        (
            json.dumps({"feeds": [str(i) for i in range(1001)]}).encode(),
            "application/json",
            422,
            "",
        ),
        (b" " * 70_000, "application/json", 413, ""),
    ],
)
async def test_body_that_is_no_rule_is_refused(
    content: bytes, kind: str, status: int, detail: str
) -> None:
    async with edge() as it:
        headers = {"content-type": kind}
        response = await it.http.put("/rules/talk", content=content, headers=headers)
        assert_problem(response, status, detail)
        assert it.streams.rules == []


@pytest.mark.parametrize("stream", ["a%20b", "%C3%A9", "-", "x" * 65, "a%00"])
async def test_name_that_cannot_be_a_stream_is_refused(stream: str) -> None:
    async with edge() as it:
        assert_problem(await it.put(stream, "s/a"), 422, "no name for a stream")
        assert_problem(await it.http.delete(f"/rules/{stream}"), 404, "no rule")
        assert_problem(await it.http.post("/rules/talk", json={}), 405, "POST")
        assert_problem(await it.http.put("/rules", json={}), 405, "PUT")


async def test_rule_for_which_a_feed_has_no_room_is_a_conflict_and_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rules.json"
    async with edge(path) as it:
        small = Node("s", "small")
        small.max_links = 0
        it.graph.add_node(small)
        it.streams.add_feed(None, Address("s", "small"))
        await it.put("talk", "s/a")
        before = path.read_bytes()
        assert_problem(await it.put("talk", "s/b", "s/small"), 409, "small@s")
        assert (await it.rules(), it.links()) == ({"talk": ["s/a"]}, {"ax"})
        assert path.read_bytes() == before


async def test_rules_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_RULES", 2)
    async with edge() as it:
        for stream in ("one", "two"):
            assert (await it.put(stream)).status_code == 201
        assert_problem(await it.put("three"), 409, "2 rules already")
        assert (await it.put("two", "s/a")).status_code == 200


async def test_rules_outlive_the_server_in_their_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    async with edge(path) as it:
        await it.put("talk", "s/a")
        await it.put("other", "s/b", "Küche")
        await it.put("talk", "s/b")
        await it.put("gone")
        await it.http.delete("/rules/gone")
    assert json.loads(path.read_bytes()) == [
        {"stream": "talk", "feeds": ["s/b"]},
        {"stream": "other", "feeds": ["s/b", "Küche"]},
    ]
    assert os.listdir(tmp_path) == ["rules.json"]
    async with edge(path) as it:
        assert await it.rules() == {"talk": ["s/b"], "other": ["s/b", "Küche"]}
        assert it.links() == {"bx"}
        await it.http.delete("/rules")
    async with edge(path) as it:
        assert await it.rules() == {}


async def test_symbolic_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "rules.json"
    link.symlink_to(tmp_path / "real" / "rules.json")
    async with edge(link) as it:
        await it.put("talk", "s/a")
    assert link.is_symlink()
    assert json.loads(link.read_bytes()) == [{"stream": "talk", "feeds": ["s/a"]}]


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_change_that_the_disk_refuses_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "rules.json"
    async with edge(path) as it:
        await it.put("talk", "s/a")
        await it.put("other", "s/a")
        before = it.streams.rules
        with monkeypatch.context() as patch:
            patch.setattr(RulesFile, step, refuse)
            assert_problem(await it.put("talk", "s/b"), 507, "no space")
            assert_problem(await it.put("new", "s/b"), 507, "no space")
            assert_problem(await it.http.delete("/rules/other"), 507, "no space")
            assert_problem(await it.http.delete("/rules"), 507, "no space")
            assert sorted(map(str, it.streams.rules)) == sorted(map(str, before))
            assert it.links() == {"ax"}
        assert (await it.put("talk", "s/b")).status_code == 200
        assert json.loads(path.read_bytes())[0] == {"stream": "talk", "feeds": ["s/b"]}


async def test_changes_at_the_same_time_all_get_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    async with edge(path) as it, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(it.put, f"s{number}", "s/a")
    assert {rule["stream"] for rule in json.loads(path.read_bytes())} == {
        f"s{number}" for number in range(20)
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds no rules"),
        (b"\xff", "it holds no rules"),
        (b'[{"stream": "a", "feeds": ["\xff"]}]', "it holds no rules"),
        (b"{}", "it holds no rules"),
        (b'[{"stream": "a", "feeds": ["x"], "y": 1}]', "it holds no rules"),
        (b'[{"stream": "a b", "feeds": []}]', "no name for a stream"),
        (b'[{"stream": "a", "feeds": ["x", "x"]}]', "twice"),
        (b'[{"stream": "a", "feeds": []}, {"stream": "a", "feeds": []}]', "two rules"),
    ],
)
async def test_file_that_holds_no_rules_is_named_at_the_start(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(content)
    with pytest.raises(StartError) as caught:
        RulesFile(path).load()
    message = str(caught.value)
    assert str(path) in message
    assert why in message
    assert message.isprintable()
    assert path.read_bytes() == content


@pytest.mark.parametrize("limit", ["MAX_SIZE", "MAX_RULES", "MAX_FEEDS"])
async def test_file_beyond_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('[{"stream": "a", "feeds": ["x", "y"]}, {"stream": "b", "feeds": []}]')
    assert len(RulesFile(path).load()) == 2
    monkeypatch.setattr(rules_file, limit, 1)
    with pytest.raises(StartError, match=r"more than 1 bytes|take at most"):
        RulesFile(path).load()


async def test_file_that_would_be_too_large_to_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_file, "MAX_SIZE", 100)
    file = RulesFile(tmp_path / "rules.json")
    assert file.load() == []
    with pytest.raises(OSError, match="too large"):
        file.prepare([Rule("a", ("x" * 100,))])


@pytest.mark.parametrize("name", ["nowhere/rules.json", ".", "a\0b", "/proc/rules.json"])
async def test_file_that_cannot_be_there_is_named_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match="cannot keep rules of streams in"):
        RulesFile(tmp_path / name).load()


async def test_real_server_keeps_its_rules(tmp_path: Path) -> None:
    settings = f"{ANY_PORTS}\n[streams]\nrules_file = 'rules.json'\n"

    def put_and_end() -> tuple[int, str]:
        with serving_process(tmp_path, settings) as server:
            response = httpx.put(
                f"{server.url}/rules/cctv", json={"feeds": ["cam/1"]}, trust_env=False
            )
            assert response.status_code == 201
            return server.end()

    def list_and_end() -> Any:
        with serving_process(tmp_path, settings) as server:
            shown = httpx.get(f"{server.url}/rules", trust_env=False).json()
            server.end()
            return shown

    assert await trio.to_thread.run_sync(put_and_end) == (0, "")
    assert await trio.to_thread.run_sync(list_and_end) == [{"stream": "cctv", "feeds": ["cam/1"]}]
