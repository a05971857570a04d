"""Events of a running graph, recorded over HTTP."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from eventgraph import Event
from eventgraph.replay import Recording
from rtp.recorded_objects import media_objects
from tests.server.test_http import assert_problem
from tests.server.test_latency import flowing, running

SINK = {"receiver": {"scope": "demo", "name": "sink"}}
FAN = {"receiver": {"scope": "demo", "name": "fan"}}
BODY = {"links": [SINK], "seconds": 0.4}


async def post(url: str, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        return await client.post("/record", content=content, headers=sent)


async def test_all_that_is_delivered_is_in_the_file_in_order(tmp_path: Path) -> None:
    async with flowing() as (url, _):
        answer = await post(url, {**BODY, "links": [SINK, FAN]})
    assert answer.headers["content-type"] == "application/vnd.eventgraph.recording"
    (tmp_path / "file").write_bytes(answer.content)
    recording = Recording(tmp_path / "file", media_objects())
    events = list(recording)
    assert len(events) > 20
    assert {e.receiver.name for e in events} == {"fan", "sink"}
    assert [e.time for e in events] == sorted(e.time for e in events)
    assert recording.end is not None
    assert recording.end.events == len(events)
    assert recording.end.dropped == 0


async def test_what_threads_deliver_is_recorded_and_what_a_node_delivers_to_itself_is_not(
    tmp_path: Path,
) -> None:
    """The latter would happen twice when it is replayed."""
    async with running() as (url, _, source), trio.open_nursery() as nursery:

        async def feed() -> None:
            while True:
                source.deliver_self(Event(1, "itself"))
                (link,) = source.links
                await trio.to_thread.run_sync(source.deliver_from_thread, link, Event(2, "thread"))
                await trio.sleep(0.01)

        nursery.start_soon(feed)
        way = next(iter(source.links.values()))
        ends = ({"scope": at.scope, "name": at.name} for at in (source.address, way))
        answer = await post(url, {**BODY, "links": [{"receiver": end} for end in ends]})
        nursery.cancel_scope.cancel()
    (tmp_path / "file").write_bytes(answer.content)
    events = list(Recording(tmp_path / "file", media_objects()))
    assert len(events) > 5
    assert {e.event.obj for e in events} == {"thread"}
    assert {e.sender for e in events} == {source.address}


async def test_what_cannot_be_recorded_is_counted_in_the_file(tmp_path: Path) -> None:
    async with running() as (url, _, source), trio.open_nursery() as nursery:

        async def feed() -> None:
            while True:
                source.broadcast(Event(1, object()))
                await trio.sleep(0.01)

        nursery.start_soon(feed)
        answer = await post(url, BODY)
        nursery.cancel_scope.cancel()
    (tmp_path / "file").write_bytes(answer.content)
    recording = Recording(tmp_path / "file", media_objects())
    assert list(recording) == []
    assert recording.end is not None
    assert recording.end.unrecordable["object"] > 5


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "no JSON"),
        ({}, 422, "names no node"),
        ({"links": []}, 422, "names no node"),
        ({"links": [SINK] * 17}, 422, "names no node"),
        ({"links": [SINK] * 2}, 422, "named twice"),
        ({**BODY, "seconds": 3601}, 422, "names no node"),
        ({"links": [{"receiver": {"scope": "demo", "name": "nobody"}}]}, 404, "nobody@demo"),
    ],
)
async def test_what_cannot_be_recorded_at_all_is_refused(
    body: Any, status: int, words: str
) -> None:
    async with running() as (url, _graph, _source):
        assert_problem(await post(url, body), status, words)


async def test_a_form_of_another_site_cannot_ask() -> None:
    async with running() as (url, _graph, _source):
        answer = await post(url, BODY, **{"content-type": "text/plain"})
        assert_problem(answer, 415, "application/json")
