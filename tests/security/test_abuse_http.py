"""Abuse of the HTTP edge: each is bounded and counted, and a legal call does not hear it."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

import httpx
import pytest

from rtp.payload_format import PCMU
from rtp.sdp import create_offer
from rtp.server.connections import MAX_CONNECTIONS
from rtp.server.statistics import ServerStatistics

from .abused import LIMIT, MEMORY_LIMIT, SCALE, SDP, SECONDS, Abused, abused
from .media_edges import BROWSER_OFFER, FRAGMENT
from .process import descriptors, resident, threads

HALF_OPEN: Final = round(200 * SCALE)
"""Offers that nobody follows up; with a scale of 50 there are 10,000."""
LORIS: Final = MAX_CONNECTIONS + 100
SIZE: Final = 65536  # bytes; what a body may have

pytestmark = [pytest.mark.abuse, pytest.mark.alone]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abused]:
    with abused(tmp_path_factory.mktemp("server")) as server:
        yield server


def wait_until(server: Abused, holds: Callable[[ServerStatistics], bool]) -> ServerStatistics:
    end = time.monotonic() + LIMIT
    while not holds(statistics := server.statistics()):
        assert time.monotonic() < end, statistics
        time.sleep(0.1)
    return statistics


def test_offers_that_nobody_follows_up_hold_no_more_than_the_limit(server: Abused) -> None:
    memory, files, before = resident(server.pid), descriptors(server.pid), threads(server.pid)
    begun = refused = 0
    with server.unheard(f"{HALF_OPEN} half-open sessions"):
        for number in range(HALF_OPEN):
            path = f"/whip/s{number}" if number % 2 else f"/rooms/r{number % 7}?name=n{number}"
            response = server.http.post(path, content=BROWSER_OFFER, headers=SDP)
            assert response.status_code in {201, 503}, response.text
            begun += response.status_code == 201
            refused += response.status_code == 503
            assert "retry-after" in response.headers or response.status_code == 201
    assert refused
    grown = resident(server.pid) - memory
    after = wait_until(server, lambda now: now.sessions is not None and now.sessions.open == 0)
    assert after.sessions is not None
    assert after.sessions.begun >= begun
    assert after.sessions.refused["too many"] >= refused
    assert grown < MEMORY_LIMIT
    wait_until(server, lambda _: descriptors(server.pid) <= files + 8)
    assert threads(server.pid) <= before + 8


def test_slow_clients_hold_no_place_that_others_need(server: Abused) -> None:
    """More than there are places, each a letter at a time; who means it is served at once."""
    address = httpx.URL(server.server.url)
    assert address.port is not None
    before = server.statistics().connections
    assert before is not None
    asked = 0
    slow: list[socket.socket] = []
    with server.unheard(f"{LORIS} slow clients"):
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end or len(slow) < LORIS:
                if len(slow) < LORIS:
                    for _ in range(20):
                        one = socket.create_connection((address.host, address.port), LIMIT)
                        one.send(b"POST /whip/x HTTP/1.1\r\nhost: localhost\r\nx: ")
                        slow.append(one)
                for one in slow:
                    try:
                        one.send(b"x")
                    except OSError:
                        continue  # cut off
                started = time.monotonic()
                answer = httpx.get(f"{server.server.url}/healthz", trust_env=False, timeout=LIMIT)
                assert answer.status_code == 200
                assert time.monotonic() - started < LIMIT / 10
                asked += 1
        finally:
            for one in slow:
                one.close()
    after = server.statistics().connections
    assert after is not None
    assert asked > 3
    assert after.cut["evicted"] - before.cut.get("evicted", 0) >= LORIS - MAX_CONNECTIONS
    assert after.open <= MAX_CONNECTIONS


def offers() -> Iterator[bytes]:
    """Descriptions that take as long to read as such a size allows."""
    lines = BROWSER_OFFER.split("\r\n")
    end = lines.index("m=video 9 UDP/TLS/RTP/SAVPF 96 97")
    for much in (
        [f"a=rtpmap:{number % 128} x{number}/90000" for number in range(4000)],
        [f"a=rtcp-fb:* nack x{number}" for number in range(4000)],
        [f"a=ssrc:{number} cname:x" for number in range(4000)],
        [f"a=candidate:{number} 1 udp 1 192.0.2.1 {number} typ host" for number in range(4000)],
        [f"a=candidate:{number} 1 udp 1 {number}.local 9 typ host" for number in range(4000)],
        [f"m=audio {9 + number} RTP/AVP 0" for number in range(4000)],
        [f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, range(128)))}"] * 200,
        ["a=" + "x" * 60_000],
        ["a=group:BUNDLE " + " ".join(map(str, range(4000)))] * 3,
        ["a=fmtp:111 " + ";".join(f"a{number}=1" for number in range(500))] * 20,
        ["c=IN IP4 " + "1" * 60_000],
        ["a=extmap:1 " + "urn:" * 12_000],
        ["a=simulcast:send " + ";".join(map(str, range(4000)))] * 3,
    ):
        yield "\r\n".join([*lines[:end], *much, *lines[end:]]).encode()[:SIZE]
    plain = create_offer("127.0.0.1", 40000, {0: PCMU})
    yield (plain + "a=x:y\r\n" * 9000).encode()[:SIZE]
    yield (plain + "m=audio 5 RTP/AVP 0\r\n" * 3000).encode()[:SIZE]
    yield (plain + "a=ptime:" + "9" * 60_000).encode()[:SIZE]


def test_huge_descriptions_are_refused_or_read_in_little_time(server: Abused) -> None:
    memory = resident(server.pid)
    answers: dict[int, int] = {}
    before = server.statistics().answers
    with server.unheard("huge descriptions"):
        end = time.monotonic() + SECONDS
        tried = 0
        while time.monotonic() < end or tried < 32:
            for offer in offers():
                path = "/rooms/huge?name=x" if tried % 2 else "/whip/huge"
                started = time.monotonic()
                response = server.http.post(path, content=offer, headers=SDP)
                assert time.monotonic() - started < LIMIT / 3, offer[:2000]
                answers[response.status_code] = answers.get(response.status_code, 0) + 1
                assert response.status_code in {201, 400, 409, 503}, response.text
                if response.status_code == 201:
                    server.http.delete(response.headers["location"])
                tried += 1
        too_large = server.http.post("/whip/huge", content=bytes(SIZE + 1), headers=SDP)
    assert too_large.status_code == 413
    after = server.statistics().answers
    assert after["400"] - before.get("400", 0) == answers[400]
    assert after["413"] - before.get("413", 0) == 1
    assert resident(server.pid) - memory < MEMORY_LIMIT


def test_candidates_without_end_are_refused(server: Abused) -> None:
    begun = server.http.post("/whip/trickle", content=BROWSER_OFFER, headers=SDP)
    assert begun.status_code == 201, begun.text
    session = begun.headers["location"]
    headers = {
        "content-type": "application/trickle-ice-sdpfrag",
        "if-match": begun.headers["etag"],
    }
    candidate = next(line for line in FRAGMENT.splitlines() if line.startswith("a=candidate"))
    taken = refused = 0
    with server.unheard("candidates without end"):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            host = f"198.51.100.{(taken + refused) % 250}"
            many = candidate.replace("192.0.2.1", host) + "\r\n"
            fragment = "a=mid:0\r\n" + many * (1 if refused % 2 else 16)
            response = server.http.patch(session, content=fragment, headers=headers)
            taken += response.status_code == 204
            refused += response.status_code == 400
            assert response.status_code in {204, 400, 404}, response.text  # in the end it is over
    server.http.delete(session)
    assert taken
    assert refused
    assert server.statistics().answers["400"] >= refused
