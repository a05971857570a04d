"""Rooms, WHIP and WHEP over HTTP, with plain aiortc peers in a browser's place."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import trio
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_to_sdp
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventgraph import Address, Event, Graph, Node
from rtp.asyncio_thread import AsyncioThread
from rtp.errors import SdpError
from rtp.media import RTP
from rtp.mixing.voice import JOIN
from rtp.network import RtpNetwork
from rtp.payload_format import PCMU, PayloadFormat
from rtp.rooms.host import Host
from rtp.sdp import create_offer, parse_offer
from rtp.server.calls import open_calls
from rtp.server.config import Config, HttpConfig, RtpConfig, SessionsConfig, WebRtcConfig
from rtp.server.http import serve_http
from rtp.server.sessions import BusyError, Sessions
from rtp.trickle import MAX_CANDIDATES, Candidate, has_ice, parse_fragment
from tests.server.test_http import assert_problem, running
from tests.webrtc.peers import RATE, Client, PictureTrack, ToneTrack, loudest, needs_address
from tests.webrtc.waiting import open_files, until

SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}
CONFIG = Config(
    http=HttpConfig(port=0),
    webrtc=WebRtcConfig(consent_timeout=1.0),
    rtp=RtpConfig(silence_limit=1.0),
)


@dataclass
class Edge:
    """A server with calls, and a client of it."""

    graph: Graph
    http: httpx.AsyncClient
    thread: AsyncioThread

    async def room(self, name: str = "lobby") -> list[dict[str, Any]]:
        """Who is in it."""
        parties: list[dict[str, Any]] = (await self.http.get(f"/rooms/{name}")).json()["parties"]
        return parties

    async def wait_for(self, ids: list[str]) -> None:
        """Until just these are in the lobby."""
        with trio.fail_after(10):
            while [party["id"] for party in await self.room()] != ids:  # noqa: ASYNC110  # by HTTP
                await trio.sleep(0.02)

    async def wait_until_empty(self) -> None:
        """Until nothing is left of any call."""
        await until(lambda: not self.graph.snapshot().nodes)


@asynccontextmanager
async def edge_of(config: Config = CONFIG) -> AsyncIterator[Edge]:
    async with (
        AsyncioThread("clients") as thread,
        RtpNetwork() as network,
        Graph() as graph,
        open_calls(graph, network, config) as calls,
        running(partial(serve_http, graph, config.http, calls=calls)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield Edge(graph, client, thread)


class Fault(Node):
    """Delivers what it should not."""


class Caller(Client):
    """A peer whose offer goes by POST."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge.thread, None)  # type: ignore[arg-type]  # no session of ours
        self.edge = edge
        self.response: httpx.Response

    @property
    def location(self) -> str:
        return self.response.headers["location"]

    async def call(
        self, path: str, *tracks: MediaStreamTrack, receive: tuple[str, ...] = ()
    ) -> None:
        offer = await self.thread.call(self._offer, tracks, ())
        if receive:
            offer = await self.thread.call(self._offer_to_receive, receive)
        self.response = await self.edge.http.post(path, content=offer, headers=SDP)
        assert self.response.status_code == 201, self.response.text
        answer = RTCSessionDescription(self.response.text, "answer")
        await self.thread.call(lambda: self.connection.setRemoteDescription(answer))

    async def _offer_to_receive(self, kinds: tuple[str, ...]) -> str:
        for kind in kinds:
            self.connection.addTransceiver(kind, direction="recvonly")
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp


@asynccontextmanager
async def caller_of(edge: Edge) -> AsyncIterator[Caller]:
    caller = Caller(edge)
    try:
        yield caller
    finally:
        await caller.close()


def level_at(sound: np.ndarray, frequency: float) -> float:
    """dB, of one tone in a second of sound."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    at = round(frequency * len(sound) / RATE)
    return 20 * math.log10(max(float(spectrum[at - 2 : at + 3].max()), 1e-9))


# Rooms


@needs_address
async def test_each_party_hears_the_others_and_not_itself() -> None:
    tones = {"Ann": 440, "Ben": 660, "Cleo": 880}
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b, caller_of(edge) as c:
        callers = dict(zip(tones, (a, b, c), strict=True))
        for name, caller in callers.items():
            await caller.call(f"/rooms/lobby?name={name}", ToneTrack(tones[name]))
        await edge.wait_for(list(tones))
        await until(lambda: all(len(x.sound) > 120 for x in callers.values()), 30)
        for name, caller in callers.items():
            heard = np.concatenate(caller.sound[-50:]).astype(float)
            levels = {other: level_at(heard, tone) for other, tone in tones.items()}
            own = levels.pop(name)
            assert own < min(levels.values()) - 30, (name, own, levels)


@needs_address
async def test_room_is_there_as_long_as_somebody_is_in_it() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        assert (await edge.http.get("/rooms")).json() == []
        assert await edge.room() == []
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        await b.call("/rooms/lobby?name=Ann", ToneTrack(660))
        assert (await edge.http.get("/rooms")).json() == [{"room": "lobby", "parties": 2}]
        assert a.response.headers["link"] == '</rooms/lobby/parties/Ann>; rel="describedby"'
        shown = await edge.http.get("/rooms/lobby/parties/Ann-2")
        assert shown.json()["kind"] == "webrtc"
        assert shown.json()["video"] is None
        assert (await edge.http.delete(a.location)).status_code == 200
        await edge.wait_for(["Ann-2"])
        await b.close()  # without a word to HTTP
        await edge.wait_for([])
        await edge.wait_until_empty()
        assert (await edge.http.get("/rooms")).json() == []


@needs_address
async def test_vanished_party_leaves_within_the_time_out() -> None:
    async with edge_of() as edge, caller_of(edge) as caller:
        await caller.call("/rooms/lobby?name=Ann", ToneTrack(440))
        await until(lambda: caller.sound, 30)
        await caller.vanish()
        await edge.wait_for([])
        await edge.wait_until_empty()


@needs_address
async def test_pictures_of_a_party_can_be_watched_and_end_with_it() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440), PictureTrack())
        (party,) = await edge.room()
        assert party["video"] == "/rooms/lobby/parties/Ann/video"
        await b.call(party["video"], receive=("video",))
        await until(lambda: len(b.pictures) > 20, 30)
        await edge.http.delete(a.location)
        await edge.wait_until_empty()
        assert (await edge.http.delete(b.location)).status_code == 404
        response = await edge.http.post(party["video"], content="v=0", headers=SDP)
        assert_problem(response, 404, "no such party")


@needs_address
async def test_who_only_listens_hears_the_room() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        await b.call("/rooms/lobby?name=Ear", receive=("audio",))
        await until(lambda: len(b.sound) > 100, 30)
        assert loudest(np.concatenate(b.sound[-50:]), RATE) == pytest.approx(440, abs=3)
        ear = (await edge.room())[1]
        assert (ear["speaks"], ear["hears"], ear["speaking"]) == (False, True, False)


@needs_address
async def test_events_tell_who_comes_speaks_and_goes() -> None:
    async with edge_of() as edge, caller_of(edge) as a, trio.open_nursery() as nursery:
        seen: list[dict[str, Any]] = []

        async def follow() -> None:
            async with edge.http.stream("GET", "/rooms/lobby/events") as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        seen.append(msgspec.json.decode(line.removeprefix("data: ")))

        nursery.start_soon(follow)
        await until(lambda: seen)
        assert seen[0] == {"room": "lobby", "parties": []}
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        await until(lambda: any(p["speaking"] for p in seen[-1]["parties"]), 30)
        assert seen[-1]["parties"][0]["level"] == pytest.approx(9, abs=2)  # -6 dBFS, a sine
        await edge.http.delete(a.location)
        await until(lambda: not seen[-1]["parties"])
        nursery.cancel_scope.cancel()


async def test_caller_by_plain_rtp_comes_in_and_is_gone_after_its_silence() -> None:
    async with edge_of() as edge, RtpNetwork() as far:
        port = far.open({0: PCMU})
        offer = create_offer("127.0.0.1", port.address[1], {0: PCMU})
        response = await edge.http.post("/rooms/lobby?name=Phone", content=offer, headers=SDP)
        assert response.status_code == 201
        assert "etag" not in response.headers
        (media,) = parse_offer(response.text).media
        assert media.formats == {0: PCMU}
        assert media.address[1] % 2 == 0
        (party,) = await edge.room()
        assert (party["kind"], party["connected"], party["video"]) == ("rtp", False, None)
        refused = await edge.http.patch(response.headers["location"], headers=FRAGMENT)
        assert_problem(refused, 405, "no ICE")
        await edge.wait_for([])  # it never sent a packet
        await edge.wait_until_empty()


async def test_caller_by_plain_rtp_is_ended_by_delete() -> None:
    config = replace(CONFIG, rtp=RtpConfig(silence_limit=1000))
    async with edge_of(config) as edge:
        offer = create_offer("127.0.0.1", 40000, {0: PCMU})
        response = await edge.http.post("/rooms/lobby?name=Phone", content=offer, headers=SDP)
        assert (await edge.http.delete(response.headers["location"])).status_code == 200
        await edge.wait_for([])
        await edge.wait_until_empty()


async def test_plain_rtp_is_sent_to_nobody_but_who_asks_for_it() -> None:
    offer = create_offer("127.0.0.2", 40000, {0: PCMU})
    async with edge_of() as edge:
        response = await edge.http.post("/rooms/lobby", content=offer, headers=SDP)
        assert_problem(response, 400, "media goes only to the address that asks")
        elsewhere = offer + "a=rtcp:9 IN IP4 127.0.0.3\r\n"
        response = await edge.http.post("/rooms/lobby", content=elsewhere, headers=SDP)
        assert_problem(response, 400, "media goes only to the address that asks")
        await edge.wait_until_empty()
    async with edge_of(replace(CONFIG, rtp=RtpConfig(any_target=True))) as edge:
        response = await edge.http.post("/rooms/lobby", content=offer, headers=SDP)
        assert response.status_code == 201


@pytest.mark.parametrize(
    ("offer", "detail"),
    [
        ("", "no m= line"),
        ("v=0\r\nrubbish\r\n", "rubbish"),
        (create_offer("127.0.0.1", 40000, {18: PayloadFormat("G729", 8000)}), "can be spoken"),
        (create_offer("::1", 40000, {0: PCMU}), "same IP version"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "cannot be used"),
        ("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" * 9, "9 media sections"),
    ],
)
async def test_unusable_offer_is_a_problem_and_leaves_nothing(offer: str, detail: str) -> None:
    async with edge_of() as edge:
        await edge.http.get("/healthz")  # the connection stays
        files = open_files()
        for path in ("/rooms/lobby", "/rooms/lobby?name=Ann"):
            response = await edge.http.post(path, content=offer, headers=SDP)
            assert_problem(response, 400, detail)
        await edge.wait_until_empty()
        assert open_files() <= files
        assert (await edge.http.get("/rooms")).json() == []


# WHIP and WHEP


@needs_address
async def test_stream_is_published_once_and_watched_by_many() -> None:
    async with (
        edge_of() as edge,
        caller_of(edge) as source,
        caller_of(edge) as early,
        caller_of(edge) as late,
    ):
        offer = "v=0"
        response = await edge.http.post("/whep/show", content=offer, headers=SDP)
        assert_problem(response, 409, "nobody publishes show")
        assert response.headers["retry-after"]
        await source.call("/whip/show", ToneTrack(440), PictureTrack())
        response = await edge.http.post("/whip/show", content=offer, headers=SDP)
        assert_problem(response, 409, "published already")
        await early.call("/whep/show", receive=("audio", "video"))
        await until(lambda: len(early.pictures) > 20 and len(early.sound) > 20, 30)
        await late.call("/whep/show", receive=("audio", "video"))
        await until(lambda: len(late.pictures) > 20 and len(late.sound) > 60, 30)
        assert loudest(np.concatenate(late.sound[-50:]), RATE) == pytest.approx(440, abs=3)
        await early.close()
        await until(lambda: len(edge.graph.snapshot().nodes) == 4)  # without hers
        assert (await edge.http.delete(source.location)).status_code == 200
        await edge.wait_until_empty()  # with those who watch


@needs_address
async def test_session_is_trickled_to_as_rfc_9725_says() -> None:
    async with edge_of() as edge, caller_of(edge) as caller:
        await caller.call("/whip/show", ToneTrack(440))
        path, tag = caller.location, caller.response.headers["etag"]
        local = caller.connection.getTransceivers()[0].sender.transport.transport.iceGatherer
        text = candidate_to_sdp(local.getLocalCandidates()[0])
        body = f"a=mid:0\r\na=candidate:{text}\r\na=end-of-candidates\r\n"

        async def patch(**headers: str) -> httpx.Response:
            return await edge.http.patch(path, content=body, headers={**FRAGMENT, **headers})

        assert (await patch(**{"if-match": tag})).status_code == 204
        assert_problem(await patch(), 428, "If-Match")
        assert_problem(await patch(**{"if-match": '"other"'}), 412, "another ICE session")
        assert_problem(await patch(**{"if-match": "*"}), 422, "restarts are not supported")
        wrong = await patch(**{"if-match": tag, "content-type": "text/plain"})
        assert_problem(wrong, 415, "trickle-ice-sdpfrag")
        body = "a=candidate:rubbish\r\n"
        assert_problem(await patch(**{"if-match": tag}), 400, "candidate cannot be used")
        body = "rubbish\r\n"
        assert_problem(await patch(**{"if-match": tag}), 400, "none of SDP")
        await until(lambda: caller.connection.connectionState == "connected")
        options = await edge.http.options(path)
        assert options.headers["allow"] == "PATCH, DELETE, OPTIONS"
        assert_problem(await edge.http.get(path), 405, "does not take GET")


async def test_endpoints_say_what_they_take() -> None:
    async with edge_of() as edge:
        for path in ("/whip/show", "/whep/show", "/rooms/lobby"):
            options = await edge.http.options(path)
            assert options.status_code == 204
            assert options.headers["accept-post"] == "application/sdp"
            wrong = await edge.http.post(
                path, content="v=0", headers={"content-type": "text/plain"}
            )
            assert_problem(wrong, 415, "application/sdp")
            assert wrong.headers["accept-post"] == "application/sdp"
            junk = await edge.http.post(path, content=b"\xff", headers=SDP)
            assert_problem(junk, 400, "UTF-8")
        for path in ("/whip/show", "/whep/show"):
            assert_problem(await edge.http.get(path), 405, "does not take GET")


@pytest.mark.parametrize("name", ["%2e%2e", "a%20b", "x" * 65, ".hidden", "%00", "ä"])
async def test_names_that_could_be_something_else_are_refused(name: str) -> None:
    async with edge_of() as edge:
        for path in (f"/whip/{name}", f"/whep/{name}", f"/rooms/{name}"):
            response = await edge.http.post(path, content="v=0", headers=SDP)
            assert_problem(response, 400, "is no name for it")
        assert_problem(await edge.http.get(f"/rooms/{name}"), 400, "is no name for it")
        assert_problem(await edge.http.get(f"/rooms/{name}/events"), 400, "is no name for it")


@pytest.mark.parametrize("name", ["", "%20", "..", "a/b", "x" * 65, "a%0Ab", "%E2%80%AE"])
async def test_party_names_that_cannot_be_shown_are_refused(name: str) -> None:
    async with edge_of() as edge:
        response = await edge.http.post(f"/rooms/lobby?name={name}", content="v=0", headers=SDP)
        assert_problem(response, 400, "is no name for a party")
        assert (await edge.http.get("/rooms")).json() == []


# Directions and codecs


def directed(offer: str, direction: str) -> str:
    """The same offer with all of its media in one direction."""
    return offer.replace("a=sendrecv", f"a={direction}")


async def offer_of(caller: Caller, *tracks: MediaStreamTrack) -> str:
    return await caller.thread.call(caller._offer, tracks, ())


@needs_address
@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/whip/show", ["a=recvonly", "a=recvonly"]),
        ("/rooms/lobby", ["a=sendrecv", "a=recvonly"]),
    ],
)
async def test_answer_is_in_no_other_direction_than_the_route_is_for(
    path: str, answered: list[str]
) -> None:
    async with edge_of() as edge, caller_of(edge) as caller:
        await caller.call(path, ToneTrack(440), PictureTrack())
        lines = caller.response.text.splitlines()
        directions = ("a=sendrecv", "a=recvonly", "a=sendonly", "a=inactive")
        assert [line for line in lines if line in directions] == answered


@needs_address
async def test_watcher_is_answered_to_receive_and_publisher_must_send() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b, caller_of(edge) as c:
        await a.call("/whip/show", ToneTrack(440))
        await b.call("/whep/show", ToneTrack(660))
        assert "a=sendonly" in b.response.text
        for direction in ("recvonly", "inactive"):
            offer = directed(await offer_of(c, ToneTrack(440)), direction)
            response = await edge.http.post("/whip/other", content=offer, headers=SDP)
            assert_problem(response, 400, "offer a=sendonly")
            await c.close()
        await edge.http.delete(a.location)
        await edge.wait_until_empty()


async def offer_of_codec(caller: Caller, kind: str, name: str) -> str:
    """An offer of one codec alone."""

    async def make() -> str:
        caller.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        caller.connection.on("track", caller._on_track)
        track = ToneTrack(660) if kind == "audio" else PictureTrack()
        transceiver = caller.connection.addTransceiver(track)
        known = RTCRtpSender.getCapabilities(kind).codecs
        transceiver.setCodecPreferences([codec for codec in known if codec.name == name])
        await caller.connection.setLocalDescription()
        return caller.connection.localDescription.sdp

    return await caller.thread.call(make)


@needs_address
@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "PCMA"])
async def test_party_with_one_codec_alone_hears_the_room(codec: str) -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        offer = await offer_of_codec(b, "audio", codec)
        b.response = await edge.http.post("/rooms/lobby?name=Ben", content=offer, headers=SDP)
        assert b.response.status_code == 201, b.response.text
        answer = RTCSessionDescription(b.response.text, "answer")
        await b.thread.call(lambda: b.connection.setRemoteDescription(answer))
        await until(lambda: len(b.sound) > 100, 30)
        sound = np.concatenate(b.sound[-50:])
        assert loudest(sound, len(sound)) == pytest.approx(440, abs=3)


@needs_address
async def test_watcher_without_the_codec_of_the_stream_is_told() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        offer = await offer_of_codec(a, "video", "VP8")
        a.response = await edge.http.post("/whip/show", content=offer, headers=SDP)
        assert a.response.status_code == 201
        offer = await offer_of_codec(b, "video", "H264")
        response = await edge.http.post("/whep/show", content=offer, headers=SDP)
        assert_problem(response, 400, "in the codec of who shows it")
        await edge.http.delete(a.location)
        await edge.wait_until_empty()


# Hostile and unlucky


@needs_address
@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda offer: offer.replace("BUNDLE 0", "BUNDLE nobody 0"), "names 'nobody'"),
        (lambda offer: offer + "a=rtcp-fb:* n\r\n" * 2000, "lines a=rtcp-fb"),
        (lambda offer: offer + "a=rtpmap:1 a/1\r\n" * 2000, "lines a=rtpmap"),
        (lambda offer: offer + "a=extmap:1 a\r\n" * 2000, "lines a=extmap"),
        (lambda offer: offer + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 99, "64 are"),
        (lambda offer: offer + "a=candidate:1 1 udp 1 x.local 9 typ host\r\n" * 9, "mDNS"),
        (lambda offer: offer + "a=" + "x" * 5000, "a line has 5002 characters"),
        (lambda offer: offer + "a=mid:0\r\n", "a=mid:0 is there twice"),
        (lambda offer: offer + "a=mid:1\r\n", "each media section has one"),
        (lambda offer: "a=mid:0\r\n" + offer, "each media section has one"),
        (lambda offer: offer.replace("m=audio", "m=odour"), "a section of 'odour'"),
    ],
)
async def test_description_that_would_cost_too_much_is_refused_before_it_does(
    change: Callable[[str], str], detail: str
) -> None:
    async with edge_of() as edge, caller_of(edge) as caller:
        offer = change(await offer_of(caller, ToneTrack(440)))
        for _ in range(3):
            response = await edge.http.post("/whip/show", content=offer, headers=SDP)
            assert_problem(response, 400, detail)
        await edge.wait_until_empty()


@needs_address
async def test_candidates_that_trickle_in_are_counted() -> None:
    async with edge_of() as edge, caller_of(edge) as caller:
        await caller.call("/whip/show", ToneTrack(440))
        headers = {**FRAGMENT, "if-match": caller.response.headers["etag"]}

        async def patch(address: str, count: int) -> httpx.Response:
            line = f"a=candidate:1 1 udp 1 {address} 9 typ host\r\n"
            return await edge.http.patch(caller.location, content=line * count, headers=headers)

        assert (await patch("127.0.0.1", 1)).status_code == 204  # taken, and not used
        assert (await patch("192.0.2.1", 20)).status_code == 204
        assert_problem(await patch("192.0.2.1", 60), 400, "too many candidates")


async def test_head_of_events_ends_at_once() -> None:
    async with edge_of() as edge:
        with trio.fail_after(10):
            for path in ("/rooms/lobby/events", "/graph/events"):
                response = await edge.http.head(path)
                assert response.status_code == 200
                assert response.headers["content-type"].startswith("text/event-stream")


async def test_client_that_goes_away_within_its_offer_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with edge_of() as edge:
        url = edge.http.base_url
        stream = await trio.open_tcp_stream(url.host, url.port or 0)
        await stream.send_all(
            f"POST /whip/show HTTP/1.1\r\nhost: {url.host}\r\ncontent-type: application/sdp\r\n"
            "content-length: 100\r\n\r\nv=0".encode()
        )
        await trio.sleep(0.1)
        await stream.aclose()
        await trio.sleep(0.1)
        assert (await edge.http.get("/rooms")).json() == []
    assert not caplog.records


@needs_address
async def test_room_whose_mixer_crashes_sends_all_home_and_can_be_opened_again() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        graph = edge.graph
        fault = graph.add_node(Fault("test", "fault"))
        graph.link_up(fault.address, Address("room/lobby", "mixer"))
        fault.broadcast(Event(JOIN, "no voice"))
        await edge.wait_for([])
        await b.call("/rooms/lobby?name=Ben", ToneTrack(440))
        await edge.wait_for(["Ben"])
        await until(lambda: b.sound, 30)


@needs_address
async def test_party_whose_voice_crashes_leaves_and_the_others_stay() -> None:
    async with edge_of() as edge, caller_of(edge) as a, caller_of(edge) as b:
        await a.call("/rooms/lobby?name=Ann", ToneTrack(440))
        await b.call("/rooms/lobby?name=Ben", ToneTrack(440))
        fault = edge.graph.add_node(Fault("test", "fault"))
        edge.graph.link_up(fault.address, Address("room/lobby/Ann", "voice"))
        fault.broadcast(Event(RTP, "no packet"))
        await edge.wait_for(["Ben"])


async def test_guest_who_cannot_be_closed_is_nobody_elses_concern(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck:
        async def close(self) -> None:
            raise OSError("close")

        async def wait_left(self) -> None:
            raise OSError("wait_left")

    left = trio.Event()

    async def leave() -> None:
        left.set()

    with pytest.raises(KeyError, match="of the body"):
        async with Host() as host:
            host.keep(Stuck(), leave)
            await left.wait()
            host.keep(Stuck(), leave)
            raise KeyError("of the body")
    assert "did not leave in order" in caplog.text
    assert "could not be closed in order" in caplog.text


async def test_listener_by_plain_rtp_that_sends_nothing_stays_no_longer_than_its_limit() -> None:
    config = replace(CONFIG, rtp=RtpConfig(listen_limit=1.0))
    async with edge_of(config) as edge:
        offer = create_offer("127.0.0.1", 40000, {0: PCMU}, direction="recvonly")
        response = await edge.http.post("/rooms/lobby?name=Ear", content=offer, headers=SDP)
        assert response.status_code == 201
        await edge.wait_for(["Ear"])
        await edge.wait_for([])
        await edge.wait_until_empty()


# How many


async def test_more_sessions_than_the_limit_are_told_to_come_again() -> None:
    config = replace(CONFIG, sessions=SessionsConfig(limit=2), rtp=RtpConfig(silence_limit=1000))
    offer = create_offer("127.0.0.1", 40000, {0: PCMU})
    async with edge_of(config) as edge:
        there = [await edge.http.post("/rooms/a", content=offer, headers=SDP) for _ in range(3)]
        assert [response.status_code for response in there] == [201, 201, 503]
        assert_problem(there[2], 503, "there are 2 sessions")
        assert int(there[2].headers["retry-after"]) >= 1
        await edge.http.delete(there[0].headers["location"])
        again = await edge.http.post("/rooms/a", content=offer, headers=SDP)
        assert again.status_code == 201


async def test_sessions_come_no_faster_than_configured(autojump_clock: trio.abc.Clock) -> None:
    sessions = Sessions(SessionsConfig(per_second=5))

    waits: list[float] = []

    def begin() -> bool:
        try:
            with sessions.newcomer():
                return True
        except BusyError as error:
            waits.append(error.retry_after)
            return False

    assert [begin() for _ in range(7)] == [True] * 5 + [False] * 2
    await trio.sleep(0.4)
    assert [begin() for _ in range(3)] == [True] * 2 + [False]
    await trio.sleep(100)
    assert [begin() for _ in range(6)] == [True] * 5 + [False]
    assert all(0 < wait <= 0.2 for wait in waits)


# Fragments


def test_fragment_gives_its_candidates_by_media_section() -> None:
    text = (
        "a=ice-ufrag:x\r\na=ice-pwd:y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
    )
    assert parse_fragment(text) == [
        Candidate("0", "1 1 udp 1 192.0.2.1 9 typ host"),
        Candidate("0", ""),
    ]
    assert has_ice(text)
    assert not has_ice("v=0")


def test_fragment_with_very_many_candidates_is_refused() -> None:
    line = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n"
    assert len(parse_fragment(line * MAX_CANDIDATES)) == MAX_CANDIDATES
    with pytest.raises(SdpError, match="more than"):
        parse_fragment(line * (MAX_CANDIDATES + 1))


@given(st.text(max_size=200))
def test_fragment_is_read_or_refused(text: str) -> None:
    with suppress(SdpError):
        parse_fragment(text)
