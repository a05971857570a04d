"""What no server should be sent: each is refused or counted, and harms nobody."""

import random
import struct
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import trio

from tests.network.relay import HOST
from tests.soak.ledger import Ledger
from tests.soak.server import Server

FLOOD: Final = 20
"""Datagrams of a kind at a time."""


def bad_datagram(rng: random.Random) -> tuple[str, bytes]:
    """A kind, and one of it; none may be taken from a stranger."""
    kind = rng.choice(("noise", "cut RTP", "alien RTP", "RTCP BYE", "cut RTCP", "STUN", "empty"))
    ssrc = rng.getrandbits(32)
    match kind:
        case "noise":
            data = rng.randbytes(rng.randint(1, 1400))
        case "cut RTP":
            data = struct.pack("!BBHLL", 0xBF, 0, 1, 1, ssrc)[: rng.randint(1, 12)]
        case "alien RTP":
            header = struct.pack("!BBHLL", 0x80, 0, rng.getrandbits(16), 1, ssrc)
            data = header + rng.randbytes(160)
        case "RTCP BYE":
            data = struct.pack("!BBHL", 0x80, 201, 1, ssrc) + struct.pack("!BBHL", 0x81, 203, 1, 1)
        case "cut RTCP":
            data = struct.pack("!BBHL", 0x9F, 200, 0xFFFF, ssrc)
        case "STUN":
            data = struct.pack("!HHL", 1, 0xFFFF, 0x2112A442) + rng.randbytes(12)
        case _:
            data = b""
    return kind, data


async def send_bad_datagrams(ports: list[int], rng: random.Random, ledger: Ledger) -> None:
    """To RTP and RTCP of the server, from a port that it does not know."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as stranger:
        for _ in range(FLOOD):
            kind, data = bad_datagram(rng)
            await stranger.sendto(data, (HOST, rng.choice(ports) + rng.randint(0, 1)))
            ledger.bad_inputs[f"datagram: {kind}"] += 1


Request = Callable[[httpx.AsyncClient, random.Random], Awaitable[httpx.Response]]


async def _bad_json(http: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return await http.post("/links", content=rng.randbytes(100), headers=headers)


async def _no_such_link(http: httpx.AsyncClient, _rng: random.Random) -> httpx.Response:
    end = {"scope": "no", "name": "body"}
    return await http.post("/links", json={"sender": end, "receiver": end})


async def _deep_json(http: httpx.AsyncClient, _rng: random.Random) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return await http.put("/rules/deep", content=b"[" * 60_000, headers=headers)


async def _bad_offer(http: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    offer = "v=0\r\nm=audio 99999999 RTP/AVP " + " ".join(
        str(rng.getrandbits(9)) for _ in range(90)
    )
    headers = {"content-type": "application/sdp"}
    return await http.post("/rooms/lobby?name=eve", content=offer, headers=headers)


async def _noise_as_offer(http: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    headers = {"content-type": "application/sdp"}
    return await http.post("/whip/eve", content=rng.randbytes(1000), headers=headers)


async def _huge_body(http: httpx.AsyncClient, _rng: random.Random) -> httpx.Response:
    headers = {"content-type": "application/sdp"}
    return await http.post("/whip/eve", content=bytes(100_000), headers=headers)


async def _bad_composition(http: httpx.AsyncClient, _rng: random.Random) -> httpx.Response:
    headers = {"content-type": "text/plain"}
    return await http.put("/composition", content="[a:no_such_type] -> [[", headers=headers)


async def _bad_session(http: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    return await http.delete(f"/sessions/{rng.randbytes(24).hex()}")


async def _bad_host(http: httpx.AsyncClient, _rng: random.Random) -> httpx.Response:
    return await http.get("/graph", headers={"host": "evil.example"})


REQUESTS: Final[dict[str, Request]] = {
    "bad JSON": _bad_json,
    "link of nobody": _no_such_link,
    "deep JSON": _deep_json,
    "bad offer": _bad_offer,
    "noise as offer": _noise_as_offer,
    "huge body": _huge_body,
    "bad composition": _bad_composition,
    "session of nobody": _bad_session,
    "foreign Host": _bad_host,
}


async def send_bad_request(server: Server, rng: random.Random, ledger: Ledger) -> None:
    """One that must be refused, and by no fault of the server."""
    kind = rng.choice(list(REQUESTS))
    response = await REQUESTS[kind](server.http, rng)
    ledger.bad_inputs[f"request: {kind}"] += 1
    refused = 400 <= response.status_code < 500
    answer = f"{kind} was answered by {response.status_code}: {response.text[:200]}"
    ledger.check("bad requests are refused", None if refused else answer)


async def send_noise_as_http(server: Server, rng: random.Random, ledger: Ledger) -> None:
    """Bytes that are no HTTP, or a request that never ends."""
    url = urlsplit(str(server.http.base_url))
    assert url.port is not None
    stream = await trio.open_tcp_stream(HOST, url.port)
    async with stream:
        whole = rng.random() < 0.5
        data = rng.randbytes(2000) if whole else b"POST /whip/eve HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        await stream.send_all(data)
        with trio.move_on_after(0.2):
            await stream.receive_some(1000)
    ledger.bad_inputs["connection: " + ("noise" if whole else "cut off")] += 1
