"""The HTTP edge, over real sockets."""

import gc
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from starlette.types import Receive, Send
from trio.testing import wait_all_tasks_blocked

from eventgraph import Address, Event, Graph, GraphSnapshot, Node, views
from eventgraph.slices import Steps
from rtp.server import connection, connections, gate, http
from rtp.server.config import Host, HttpConfig, Token
from rtp.server.connections import Connections
from rtp.server.errors import StartError
from rtp.server.graph_view import VIEWS, GraphFormat, negotiate
from rtp.server.http import listen, serve_http

ANY_PORT = HttpConfig(port=0)
SDP = "v=0\r\n"
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
HUGE = 20_000_000
EXIT_LIMIT = 5.0
"""Seconds; the promise is 1, but test machines are slow."""


Serve = Callable[..., Awaitable[None]]


@asynccontextmanager
async def running(serve: Serve) -> AsyncIterator[str]:
    """Its URL. Whatever it opened must be closed soon after it is cancelled."""
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve)
        port = httpx.URL(url).port
        assert port is not None
        assert server_sockets(port)
        yield url
        nursery.cancel_scope.cancel()
        started = trio.current_time()
    assert trio.current_time() - started < EXIT_LIMIT
    gc.collect()  # what was not closed would warn
    assert not server_sockets(port)


@asynccontextmanager
async def serving(graph: Graph, config: HttpConfig = ANY_PORT) -> AsyncIterator[str]:
    """The whole edge."""
    async with running(partial(serve_http, graph, config, sessions={"echo": SDP})) as url:
        yield url


async def huge(_scope: object, _receive: Receive, send: Send) -> None:
    """An ASGI application whose answer does not fit into the sockets' buffers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(HUGE), "more_body": False})


async def serve_huge(*, task_status: trio.TaskStatus[str]) -> None:
    """Serve it as the edge would."""
    listener = listen(ANY_PORT)
    task_status.started(f"http://127.0.0.1:{listener.getsockname()[1]}")
    await Connections(huge).serve(listener)


def server_sockets(port: int) -> set[str]:
    """The sockets of this process that are bound to a TCP port, by inode."""
    own = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that reads the directory
            own.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            local, inode = line.split()[1], line.split()[9]
            if local.endswith(f":{port:04X}") and f"socket:[{inode}]" in own:
                found.add(inode)
    return found


async def get(url: str, **options: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url, **options)  # type: ignore[arg-type]


async def connect(url: str) -> trio.SocketStream:
    address = httpx.URL(url)
    assert address.port is not None
    return await trio.open_tcp_stream(address.host, address.port)


def assert_problem(response: httpx.Response, status: int, detail: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert detail in body["detail"]


async def test_graph_is_answered_as_json_with_the_snapshot() -> None:
    async with Graph() as graph:
        source = graph.add_node(Node("demo", "source"))
        sink = graph.add_node(Node("demo", "sink"))
        source.deliver(source.request_link_up("demo", "sink"), Event(1))
        await wait_all_tasks_blocked()
        async with serving(graph) as url:
            response = await get(f"{url}/graph")
            expected = graph.snapshot()
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert msgspec.json.decode(response.content, type=GraphSnapshot) == expected
        assert expected.links[0].receiver == sink.address == Address("demo", "sink")
        assert expected.links[0].counts.handled == 1


@pytest.mark.parametrize("form", list(GraphFormat))
async def test_format_in_the_query_chooses_the_view(form: GraphFormat) -> None:
    async with Graph() as graph, serving(graph) as url:
        response = await get(f"{url}/graph?format={form}", headers={"accept": "application/json"})
        assert response.headers["content-type"].partition(";")[0] == VIEWS[form].media_type
        expected = VIEWS[form].render(graph.snapshot())
        assert response.content == (expected.encode() if isinstance(expected, str) else expected)


async def test_accept_header_chooses_the_view() -> None:
    async with Graph() as graph, serving(graph) as url:
        response = await get(f"{url}/graph", headers={"accept": "text/vnd.graphviz"})
        assert response.text == views.to_dot(graph.snapshot())
        assert response.headers["vary"] == "accept"


async def test_large_graph_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGE_GRAPH", 1)
    async with Graph() as graph, serving(graph) as url:
        graph.add_node(Node("demo", "only"))
        response = await get(f"{url}/graph?format=text")
        assert response.text.startswith("1 node, 0 links")


async def test_unknown_format_is_a_problem_that_names_the_choices() -> None:
    async with Graph() as graph, serving(graph) as url:
        response = await get(f"{url}/graph?format=png")
        detail = "format is 'png'; choose one of json, text, mermaid, dot"
        assert_problem(response, 400, detail)


async def test_media_type_that_there_is_not_is_a_problem() -> None:
    async with Graph() as graph, serving(graph) as url:
        response = await get(f"{url}/graph", headers={"accept": "image/png"})
        assert_problem(response, 406, "application/json, text/plain")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", GraphFormat.JSON),
        ("*/*", GraphFormat.JSON),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", GraphFormat.JSON),
        ("text/plain", GraphFormat.TEXT),
        ("text/*", GraphFormat.TEXT),
        ("TEXT/VND.Mermaid", GraphFormat.MERMAID),
        ("text/plain;q=0.1, text/vnd.graphviz;q=0.2", GraphFormat.DOT),
        ("text/plain;q=0, text/*", GraphFormat.MERMAID),
        ("application/json;q=0", None),
        ("image/png", None),
        ("nonsense;;;q=x", GraphFormat.JSON),
        ("text/plain;q=nan", GraphFormat.JSON),
    ],
)
def test_most_wanted_media_type_wins(accept: str, form: GraphFormat | None) -> None:
    assert negotiate(accept) is form


async def test_session_description_is_answered_by_name() -> None:
    async with Graph() as graph, serving(graph) as url:
        response = await get(f"{url}/sessions/echo.sdp")
        assert (response.text, response.headers["content-type"]) == (SDP, "application/sdp")
        response = await get(f"{url}/sessions/other.sdp")
        assert_problem(response, 404, "there is no session 'other'; there is: echo")


async def test_every_route_on_the_index_is_there() -> None:
    async with Graph() as graph, serving(graph) as url:
        index = await get(url)
        routes = [line.split()[1] for line in index.text.splitlines() if line.startswith("GET")]
        assert len(routes) == 6
        routes.remove("/graph/events")  # does not end
        for route in routes:
            response = await get(url + route.replace("{name}", "echo"))
            assert response.status_code == 200, route


async def test_unknown_path_is_a_problem() -> None:
    async with Graph() as graph, serving(graph) as url:
        assert_problem(await get(f"{url}/nowhere"), 404, "there is nothing at '/nowhere'")


async def test_other_methods_are_a_problem_that_tells_which_are_taken() -> None:
    async with Graph() as graph, serving(graph) as url, httpx.AsyncClient() as client:
        response = await client.post(f"{url}/graph")
        assert_problem(response, 405, "/graph does not take POST")
        assert "GET" in response.headers["allow"]


async def test_failing_route_is_a_problem_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Steps[GraphSnapshot]:
        raise ValueError("broken")

    async with Graph() as graph, serving(graph) as url:
        monkeypatch.setattr(graph, "snapshot_steps", fail)
        assert_problem(await get(f"{url}/graph"), 500, "the log of the server")
        assert (await get(f"{url}/healthz")).status_code == 200
    assert "broken" in caplog.text


@pytest.mark.parametrize("junk", [b"\x00\xff\r\n\r\n", b"GET /\r\n\r\n", b"G" * 100_000])
async def test_junk_ends_its_connection_and_no_other(junk: bytes) -> None:
    async with Graph() as graph, serving(graph) as url:
        async with await connect(url) as stream:
            try:
                await stream.send_all(junk)
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass  # cut off before all of it was read
        assert (await get(f"{url}/healthz")).text == "ok\n"


async def test_newcomer_gets_the_place_of_who_has_kept_us_waiting_longest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    async with Graph() as graph, serving(graph) as url:
        async with await connect(url) as oldest:
            await oldest.send_all(b"GET / HTTP/1.1\r\nhost:")
            await wait_all_tasks_blocked(0.01)
            async with await connect(url) as half, await connect(url) as newcomer:
                assert await oldest.receive_some() == b""
                await half.send_all(
                    b"POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
                    b"content-type: application/json\r\n\r\n{"
                )
                await newcomer.send_all(REQUEST.replace(b"x", b"localhost"))
                assert b" 200 " in await newcomer.receive_some()
                async with await connect(url):
                    assert await half.receive_some() == b""
        assert caplog.text.count("connections are taken") == 1


async def test_who_was_answered_lately_has_not_kept_us_waiting_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as a proxy, which keeps its connections, beside somebody who only holds a place."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    asking = REQUEST.replace(b"x", b"localhost")
    async with (
        Graph() as graph,
        serving(graph) as url,
        await connect(url) as proxy,
        await connect(url) as silent,
    ):
        await wait_all_tasks_blocked(0.01)
        with trio.fail_after(EXIT_LIMIT):
            await proxy.send_all(asking)
            await read_ok(proxy)
            await wait_all_tasks_blocked(0.01)
            async with await connect(url):
                assert await silent.receive_some() == b""
                await proxy.send_all(asking)
                await read_ok(proxy)


async def read_ok(stream: trio.SocketStream) -> None:
    """An answer to `REQUEST`, to its end."""
    answer = b""
    while not answer.endswith(b"ok\n"):
        received = await stream.receive_some()
        assert received
        answer += received


async def test_whose_request_is_being_answered_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    async with Graph() as graph, serving(graph) as url, await connect(url) as watcher:
        await watcher.send_all(b"GET /graph/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b" 200 " in await watcher.receive_some()
        async with await connect(url) as refused:
            assert await refused.receive_some() == b""
        assert await watcher.receive_some()


async def test_request_whose_head_does_not_come_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A letter at a time: it is the whole head that has a limit, not the time between letters."""
    monkeypatch.setattr(connection, "HEAD_LIMIT", 0.2)
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        with trio.fail_after(EXIT_LIMIT), suppress(trio.BrokenResourceError):
            for letter in itertools.cycle(b"GET / HTTP/1.1\r\nx: "):
                await stream.send_all(bytes((letter,)))
                await trio.sleep(0.01)


ASKING = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def test_idle_connection_outlives_the_limit_of_a_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy keeps its connections; a request that meets our close would be lost."""
    monkeypatch.setattr(connection, "HEAD_LIMIT", 0.1)
    assert connection.IDLE_LIMIT > 60
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        for _ in range(3):
            await stream.send_all(ASKING)
            with trio.fail_after(EXIT_LIMIT):
                await read_ok(stream)
            await trio.sleep(0.3)


@pytest.mark.parametrize("start", [b"G", ASKING + b"G"], ids=["later", "with the one before"])
async def test_head_that_has_begun_after_an_answer_has_its_limit(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_LIMIT", 0.2)
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(ASKING)
        with trio.fail_after(EXIT_LIMIT), suppress(trio.BrokenResourceError):
            assert b" 200 " in await stream.receive_some()
            await stream.send_all(start)
            for letter in itertools.cycle(b"ET / HTTP/1.1\r\nx: "):
                await stream.send_all(bytes((letter,)))
                await trio.sleep(0.01)


async def test_answer_before_the_body_is_whole_says_that_the_connection_ends() -> None:
    size = 10_000_000
    head = f"POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n"
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(head.encode())
        with trio.fail_after(EXIT_LIMIT):
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"\r\nconnection: close\r\n" in answer
            for _ in range(10):  # is read, and not answered by a reset
                await stream.send_all(bytes(1000))
                await trio.sleep(0.01)
            assert not b"".join([data async for data in stream]).startswith(b"HTTP")


async def test_client_that_is_refused_early_does_not_lose_its_next_request() -> None:
    async with (
        Graph() as graph,
        serving(graph) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        for _ in range(50):
            huge = await client.post("/links", content=bytes(1_000_000))
            assert huge.status_code == 413
            assert (await client.get("/healthz")).status_code == 200


async def test_connection_that_stays_idle_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_LIMIT", 0.1)
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(ASKING)
        with trio.fail_after(EXIT_LIMIT):
            answer = b"".join([data async for data in stream])
        assert b" 200 " in answer


async def test_request_whose_body_does_not_come_is_answered_408(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "BODY_LIMIT", 0.2)
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(
            b"POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        )
        with trio.fail_after(EXIT_LIMIT):
            answer = b"".join([data async for data in stream])  # and the connection ends
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer


@pytest.mark.parametrize("asked", ["h2c", "websocket", "h3"])
async def test_other_protocols_are_not_spoken(asked: str) -> None:
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\n"
            b"upgrade: %s\r\nhttp2-settings: x\r\n\r\n" % asked.encode()
        )
        answer = await stream.receive_some()
        assert b"HTTP/1.1 101" not in answer


async def test_http2_with_prior_knowledge_is_refused_in_http1() -> None:
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 4")


async def test_ipv6_is_served() -> None:
    async with Graph() as graph, serving(graph, HttpConfig(Host("::1"), 0)) as url:
        assert url.startswith("http://[::1]:")
        assert (await get(f"{url}/healthz")).text == "ok\n"


async def test_port_in_use_is_an_error_that_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with Graph() as graph:
            with pytest.raises(StartError, match=rf"port {port}: the port is in use; choose"):
                await serve_http(graph, HttpConfig(port=port))


async def test_foreign_address_is_an_error() -> None:
    async with Graph() as graph:
        with pytest.raises(StartError, match="this machine does not have that address"):
            await serve_http(graph, HttpConfig(Host("192.0.2.1"), 0, Token("x" * 16)))


async def test_idle_connections_do_not_hold_up_the_exit() -> None:
    async with Graph() as graph, httpx.AsyncClient() as client:
        async with serving(graph) as url:
            assert (await client.get(f"{url}/healthz")).status_code == 200
            silent = await connect(url)
            await wait_all_tasks_blocked(0.01)
        async with silent:
            assert await silent.receive_some() == b""


async def test_client_that_does_not_read_does_not_hold_up_the_exit() -> None:
    async with running(serve_huge) as url:
        stuck = await connect(url)
        await stuck.send_all(REQUEST)
        assert await stuck.receive_some(10)
        await wait_all_tasks_blocked(0.01)
    await stuck.aclose()


async def test_answer_under_way_is_finished_at_the_exit() -> None:
    received = 0

    async def read(stream: trio.SocketStream) -> None:
        nonlocal received
        async with stream:
            async for data in stream:
                received += len(data)

    async with trio.open_nursery() as nursery, running(serve_huge) as url:
        stream = await connect(url)
        await stream.send_all(REQUEST)
        await wait_all_tasks_blocked(0.01)  # the buffers are full
        nursery.start_soon(read, stream)
    assert received > HUGE


async def deaf(_scope: object, _receive: Receive, send: Send) -> None:
    """An ASGI application that answers at length, and does not ask for the request's body."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(20):
        await trio.sleep(0.02)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def test_connection_ends_though_nobody_took_what_the_client_sent() -> None:
    served = Connections(deaf)
    listener = listen(ANY_PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.serve, listener)
        async with await connect(f"http://127.0.0.1:{listener.getsockname()[1]}") as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
            for _ in range(30):  # more than wait for an application
                await stream.send_all(b"x")
                await trio.sleep(0.005)
            with trio.fail_after(EXIT_LIMIT):
                answer = b"".join([data async for data in stream])
        assert answer.endswith(b"\r\n0\r\n\r\n")
        with trio.fail_after(EXIT_LIMIT):
            while served.statistics().open:  # noqa: ASYNC110  # nothing to wait on
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_application_that_asks_again_is_told_again_that_the_client_is_gone() -> None:
    told: list[object] = []

    async def patient(_scope: object, receive: Receive, _send: Send) -> None:
        while len(told) < 3:
            told.append((await receive())["type"])

    served = Connections(patient)
    listener = listen(ANY_PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.serve, listener)
        async with await connect(f"http://127.0.0.1:{listener.getsockname()[1]}") as stream:
            await stream.send_all(REQUEST)
            await trio.sleep(0.1)
        with trio.fail_after(EXIT_LIMIT):
            while len(told) < 3:  # noqa: ASYNC110  # nothing to wait on
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert told == ["http.request", "http.disconnect", "http.disconnect"]


@pytest.mark.parametrize("head", [b"\0\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + bytes(100_000)])
async def test_refusal_of_what_is_no_request_is_not_lost_in_a_reset(head: bytes) -> None:
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        await stream.send_all(head)
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 4")
        for _ in range(10):  # is read, and not answered by a reset
            await stream.send_all(bytes(1000))
            await trio.sleep(0.01)
