"""Whatever is sent to a running server by HTTP: an answer that a client can read, never a 500."""

import random
import socket
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.serving import ANY_PORTS, Server, serving

from .edge import damage
from .media_edges import BROWSER_OFFER, FRAGMENT
from .process import resident
from .text_edges import GRAPH

EXAMPLES = 25  # a route
GROWTH: Final = 80 << 20
"""Bytes that the server may grow by, over all of it: codecs, threads, caches."""
ANSWER_LIMIT: Final = 20.0
"""Seconds for an answer, on a machine that does much else."""

SETTINGS: Final = (
    ANY_PORTS.replace("[http]", "[http]\nmax_body = 65536")
    + """\
[sessions]
limit = 20
per_second = 100000
[webrtc]
connect_timeout = 2
[flows]
application = "fuzz"
registry = ""
runtime_directory = "flows"
"""
)

PLAIN_OFFER: Final = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
LINK: Final = (
    b'{"sender": {"scope": "tone", "name": "fan"}, "receiver": {"scope": "echo", "name": "meter"}}'
)


class Target(NamedTuple):
    """A route that takes a body."""

    method: str
    path: str
    media_type: str
    seeds: tuple[bytes, ...]


TARGETS: Final = {
    "links": Target("POST", "/links", "application/json", (LINK,)),
    "composition": Target(
        "PUT", "/composition?check=1", "text/plain", (GRAPH.encode(), b"[a:pubsub]->[b:pubsub]")
    ),
    "apply": Target("PUT", "/composition", "text/plain", (b"[a@x:pubsub]->[b@x:pubsub]",)),
    "rules": Target("PUT", "/rules/news", "application/json", (b'{"feeds": ["studio/a"]}',)),
    "room": Target(
        "POST", "/rooms/fuzz?name=x", "application/sdp", (BROWSER_OFFER.encode(), PLAIN_OFFER)
    ),
    "whip": Target("POST", "/whip/fuzz", "application/sdp", (BROWSER_OFFER.encode(),)),
    "whep": Target("POST", "/whep/fuzz", "application/sdp", (BROWSER_OFFER.encode(),)),
    "flows": Target("POST", "/flows/clients", "application/json", (b'{"name": "tone"}',)),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """After all of it, it is as it was, and has logged no traceback."""
    directory = tmp_path_factory.mktemp("server")
    (directory / "flows").mkdir(mode=0o700)
    with serving(directory, SETTINGS) as server:
        before = resident(server.process.pid)
        yield server
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
        grown = resident(server.process.pid) - before
        status, errors = server.end()
    assert status == 0
    assert "Traceback" not in errors, errors[-4000:]
    assert grown < GROWTH


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    dice = random.Random(draw(st.integers(0, 2**32)))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        data = damage(data, draw(st.sampled_from(seeds)), dice)
    return data


def assert_readable(response: httpx.Response, client: httpx.Client) -> None:
    assert response.status_code not in {500, 501, 502}
    if response.status_code == 201 and "location" in response.headers:
        location = response.headers["location"]
        assert client.delete(location).status_code in {200, 204, 404}  # it may have ended
    elif response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]


@pytest.mark.parametrize("name", TARGETS)
def test_any_body_gets_an_answer_that_can_be_read(server: Server, name: str) -> None:
    target = TARGETS[name]
    with httpx.Client(base_url=server.url, trust_env=False, timeout=ANSWER_LIMIT) as client:

        @settings(max_examples=EXAMPLES, database=None)
        @given(damaged(target.seeds))
        def take(body: bytes) -> None:
            headers = {"content-type": target.media_type}
            response = client.request(target.method, target.path, content=body, headers=headers)
            assert_readable(response, client)

        take()


def test_any_fragment_for_a_session_gets_an_answer(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=ANSWER_LIMIT) as client:
        headers = {"content-type": "application/sdp"}
        begun = client.post("/whip/trickle", content=BROWSER_OFFER, headers=headers)
        assert begun.status_code == 201, begun.text
        session, tag = begun.headers["location"], begun.headers["etag"]
        headers = {"content-type": "application/trickle-ice-sdpfrag", "if-match": tag}

        @settings(max_examples=EXAMPLES, database=None)
        @given(damaged((FRAGMENT.encode(),)))
        def take(body: bytes) -> None:
            assert_readable(client.patch(session, content=body, headers=headers), client)

        take()
        client.delete(session)


REQUESTS: Final = (
    b"GET /graph?format=json HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/plain;q=0.5\r\n\r\n",
    b"POST /whip/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/sdp\r\n"
    b"authorization: Bearer abc\r\ncontent-length: 3\r\n\r\nv=0",
    b'PATCH /sessions/x HTTP/1.1\r\nhost: [::1]\r\nif-match: "a", *\r\ncontent-length: 0\r\n\r\n',
    b"PUT /rules/a HTTP/1.1\r\nhost: a.localhost\r\ncontent-type: application/json\r\n"
    b"origin: http://127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"DELETE /links?sender_scope=a&sender_name=b&receiver_scope=c&receiver_name=d HTTP/1.1\r\n"
    b"host: 127.0.0.1\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
    b"GET /graph/events HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n"
    b"upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"sec-websocket-version: 13\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
)


def test_any_request_leaves_the_server_as_it_was(server: Server) -> None:
    """Headers, request lines, chunks, upgrades: no 500; an answer, or the connection ends."""
    address = httpx.URL(server.url)
    assert address.port

    @settings(max_examples=6 * EXAMPLES, database=None)
    @given(damaged(REQUESTS))
    def take(data: bytes) -> None:
        with socket.create_connection((address.host, address.port), ANSWER_LIMIT) as client:
            try:
                client.sendall(data[: 16 << 10])
                client.shutdown(socket.SHUT_WR)
                client.settimeout(0.2)  # a stream of events has no end
                answer = client.recv(4096)
            except (TimeoutError, ConnectionError):
                return
        assert not answer.startswith(b"HTTP/1.1 500"), answer

    take()
    started = time.monotonic()
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    assert time.monotonic() - started < ANSWER_LIMIT
