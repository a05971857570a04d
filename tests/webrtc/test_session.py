"""Sessions against plain aiortc peers, with real ICE, DTLS, SRTP and SCTP."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
import trio
from aiortc.rtp import RtpPacket as AiortcPacket
from aiortc.rtp import is_rtcp

from eventgraph import Address, Event, Graph, GraphError, NodeDelegate
from eventgraph.testing import Probe
from rtp.asyncio_thread import AsyncioThread
from rtp.errors import SdpError
from rtp.media import END, PCM, RTP, EndReason
from rtp.nodes.playout import PlayoutStatistics
from rtp.packet import RtpPacket
from rtp.webrtc import BINARY, TEXT, VIDEO, WebRtcNetwork, link_forwarding
from rtp.webrtc.aiortc_private import coding
from rtp.webrtc.forwarding import ForwardedInput

from .peers import RATE, PictureTrack, ToneTrack, client_of, loudest, needs_address
from .waiting import open_files, until

pytestmark = needs_address

STUN_HEADER = 20  # octets
SRTP_TAG = 10  # octets of authentication: AES_CM_128_HMAC_SHA1_80 (RFC 4568 §6.2)


@pytest.fixture
async def thread() -> AsyncIterator[AsyncioThread]:
    """Where the plain peers live."""
    async with AsyncioThread("client") as thread:
        yield thread


@pytest.fixture
async def graph() -> AsyncIterator[Graph]:
    async with Graph() as graph:
        yield graph


@pytest.fixture
async def network(graph: Graph) -> AsyncIterator[WebRtcNetwork]:
    async with WebRtcNetwork(graph) as network:
        yield network


def probe(graph: Graph, name: str, *sources: tuple[str, str]) -> Probe:
    """A probe that hears these sources."""
    node = Probe("test", name)
    node.channel_size = 1024
    graph.add_node(node)
    for scope, source in sources:
        graph.link_up(Address(scope, source), Address("test", name))
    return node


def events(node: Probe, cmd: int) -> list[Event]:
    return [event for event in node.events if event.cmd == cmd]


async def test_tone_is_decoded_for_the_graph_and_encoded_for_the_peer(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="decoded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        graph.link_up(Address("alice", "audio-source"), Address("alice", "audio-sink"))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(client.sound) > 75)

        heard = np.concatenate([event.obj.samples for event in events(ear, PCM)])[-RATE:]
        assert loudest(heard, RATE) == pytest.approx(440, abs=2)
        assert np.abs(heard).max() == pytest.approx(16384, rel=0.15)
        starts = [event.obj.timestamp for event in events(ear, PCM)]
        (track,) = session.statistics().tracks
        assert track.playout is not None
        steps = np.diff(starts)
        assert not (steps % 960).any()
        assert (steps - 960).sum() <= 960 * track.playout.frames_skipped  # by a machine too busy
        back = np.concatenate(client.sound)[-RATE:]
        assert loudest(back, RATE) == pytest.approx(440, abs=2)
        assert np.abs(back).max() == pytest.approx(16384, rel=0.15)


async def test_delay_of_decoded_sound_is_back_at_its_target_after_loss_and_a_burst(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="decoded")

    def playout() -> PlayoutStatistics:
        numbers = session.statistics().tracks[0].playout
        assert numbers is not None
        return numbers

    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        transport = client.connection.getSenders()[0].transport
        pass_on = transport._send_rtp
        stalled, lossy = False, False
        lost = 0
        waiting: list[bytes] = []

        async def send(data: bytes) -> None:
            nonlocal lost
            if stalled:
                waiting.append(data)
            elif lossy and not is_rtcp(data) and data[3] % 10 == 0:
                lost += 1
            else:
                await pass_on(data)

        async def let_go() -> None:
            for data in waiting:
                await pass_on(data)

        transport._send_rtp = send  # type: ignore[method-assign]
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, PCM)) > 50)
        lossy = True
        await until(lambda: lost >= 5)
        lossy, stalled = False, True
        await trio.sleep(0.25)
        stalled = False
        await thread.call(let_go)
        settled = 0
        with trio.fail_after(8):  # a second, and what a busy machine stalls by itself
            while settled < 25:
                await trio.sleep(0.02)
                numbers = playout()
                settled = settled + 1 if numbers.delay < numbers.target + 0.03 else 0
        heard = np.concatenate([event.obj.samples for event in events(ear, PCM)])
    assert numbers.jitter is not None
    assert numbers.jitter.missing >= 5
    assert numbers.concealed >= 1
    assert numbers.target <= 0.2
    assert len(waiting) > 5
    assert loudest(heard[-RATE // 2 :], RATE) == pytest.approx(440, abs=4)


async def test_audio_level_goes_from_peer_to_peer_with_what_is_forwarded(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    alice, bob = network.open("alice", audio="forwarded"), network.open("bob", audio="forwarded")
    async with client_of(thread, alice) as speaker, client_of(thread, bob) as listener:
        await listener.connect(ToneTrack(100))
        _, got = listener.tap()
        await speaker.connect(ToneTrack(440))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        link_forwarding(graph, Address("alice", "audio-source"), Address("bob", "audio-sink"))
        await until(lambda: len(got) > 20)
        levels = [packet.extensions.audio_level for packet in got]
        told = {event.obj.audio_level for event in events(ear, RTP)}
    told.discard(127)  # the first packets are silence
    assert len(told) == 1
    assert set(levels[5:]) == {(False, *told)}
    assert told <= {6, 9}  # a sine at -6 dBFS; aiortc takes both channels of stereo for one


async def test_video_is_decoded_and_encoded_again(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", video="decoded")
    async with client_of(thread, session) as client:
        await client.connect(PictureTrack())
        graph.link_up(Address("alice", "video-source"), Address("alice", "video-sink"))
        eye = probe(graph, "eye", ("alice", "video-source"))
        await until(lambda: len(client.pictures) > 15)
        assert events(eye, VIDEO)[0].obj.width == 320
        assert client.pictures[-1].width == 320


async def test_forwarded_payloads_are_intact_and_no_codec_runs(
    thread: AsyncioThread,
    graph: Graph,
    network: WebRtcNetwork,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_codec(_: object) -> object:
        raise AssertionError("a codec was asked for")

    monkeypatch.setattr(coding, "get_encoder", no_codec)
    alice = network.open("alice", audio="forwarded", video="forwarded")
    bob = network.open("bob", audio="forwarded", video="forwarded")
    async with client_of(thread, alice) as speaker, client_of(thread, bob) as viewer:
        await viewer.connect(ToneTrack(100), PictureTrack())
        _, got = viewer.tap()
        await speaker.connect(ToneTrack(440), PictureTrack())
        sent, _ = speaker.tap()
        for kind in ("audio", "video"):
            link_forwarding(
                graph, Address("alice", f"{kind}-source"), Address("bob", f"{kind}-sink")
            )
        await until(lambda: len(viewer.pictures) > 30 and len(viewer.sound) > 50)

        decoders = [t for t in threading.enumerate() if t.name.endswith("-decoder")]
        assert len(decoders) == 4  # those of the plain peers
        passed = got[:]
        payloads = {packet.payload for packet in sent}
        assert len(passed) > 100
        assert all(packet.payload in payloads for packet in passed)
        assert loudest(np.concatenate(viewer.sound)[-RATE:], RATE) == pytest.approx(440, abs=2)
        for ssrc in {packet.ssrc for packet in passed}:
            numbers = [packet.sequence_number for packet in passed if packet.ssrc == ssrc]
            assert set(np.diff(numbers)) <= {1, -65535}
        assert [track.drops for track in alice.statistics().tracks] == [{}, {}]


async def test_datagrams_that_are_not_the_peers_are_counted_and_the_call_goes_on(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="forwarded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, RTP)) > 5)
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        candidate = next(
            line.split()
            for line in client.connection.remoteDescription.sdp.splitlines()
            if line.startswith("a=candidate:") and "." in line.split()[4]
        )
        with stranger:
            stun = b"\0\x01\0\x06" + bytes(16) + b"\0\x24\0\x02\0\0"  # a priority of two octets
            srtp = [b"\x80", b"\x80\xc8", b"\x80\x60" + bytes(200), b"\xbf" * 1400]
            for hostile in (b"", stun, *srtp):
                stranger.sendto(hostile, (candidate[4], int(candidate[5])))
        await until(lambda: sum(session.statistics().drops.values()) == 6)
        heard = len(events(ear, RTP))
        await until(lambda: len(events(ear, RTP)) > heard + 5)
        assert session.statistics().drops == {"malformed": 2, "srtp": 4}


async def test_a_receiver_that_fails_does_not_end_the_call(
    thread: AsyncioThread,
    graph: Graph,
    network: WebRtcNetwork,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    take, failures = ForwardedInput.take_view, 3

    def fail_at_first(self: ForwardedInput, packet: RtpPacket) -> RtpPacket | None:
        nonlocal failures
        if failures:
            failures -= 1
            raise LookupError("as if it were not written yet")
        return take(self, packet)

    monkeypatch.setattr(ForwardedInput, "take_view", fail_at_first)
    session = network.open("alice", audio="forwarded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, RTP)) > 5)
        assert session.statistics().drops == {"receiver failed": 3}
        assert caplog.text.count("a packet of a peer was not handled") == 1


async def test_media_that_could_be_taken_for_stun_is_media(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="forwarded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, RTP)) > 5)
        sender = client.connection.getSenders()[0]

        async def send(length: int) -> None:
            """A packet whose sequence number is its length as STUN counts it, 20 less."""
            on_the_wire = 12 + length + SRTP_TAG
            packet = AiortcPacket(96, 0, on_the_wire - STUN_HEADER, 0, 77, bytes(length))
            await sender.transport._send_rtp(packet.serialize())

        lengths = range(40, 80)
        for length in lengths:
            await thread.call(send, length)

        def found() -> list[int]:
            return [len(e.obj.payload) for e in events(ear, RTP) if e.obj.ssrc == 77]

        await until(lambda: len(found()) == len(lengths))
        assert found() == list(lengths)


async def test_viewer_that_loses_packets_gets_them_again(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    alice, bob = network.open("alice"), network.open("bob")
    async with client_of(thread, alice) as speaker, client_of(thread, bob) as viewer:
        await viewer.connect(PictureTrack())
        got: list[int] = []
        lost: list[int] = []
        receiver = viewer.connection.getReceivers()[0]
        handle = receiver.transport._handle_rtp_data

        async def lossy(data: bytes, arrival_time_ms: int) -> None:
            number = int.from_bytes(data[2:4])
            if data[1] & 0x7F == 97 and number % 20 == 0:  # VP8, not RTX
                lost.append(number)
                return
            if data[1] & 0x7F == 98:
                header = 12 + 4 + 4 * int.from_bytes(data[14:16]) if data[0] & 0x10 else 12
                got.append(int.from_bytes(data[header : header + 2]))
            await handle(data, arrival_time_ms)

        receiver.transport._handle_rtp_data = lossy  # type: ignore[method-assign]
        await speaker.connect(PictureTrack())
        link_forwarding(graph, Address("alice", "video-source"), Address("bob", "video-sink"))
        await until(lambda: len(lost) >= 5 and set(lost[:5]) <= set(got))
        await until(lambda: len(viewer.pictures) > 30)


async def test_key_frame_requests_reach_the_publisher_but_no_storm(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    alice, bob = network.open("alice"), network.open("bob")
    asked: list[float] = []
    async with client_of(thread, alice) as speaker, client_of(thread, bob) as viewer:
        await viewer.connect(PictureTrack())
        await speaker.connect(PictureTrack())
        sender = speaker.connection.getSenders()[0]
        ask = sender._send_keyframe

        def noted() -> None:
            asked.append(time.monotonic())
            ask()

        sender._send_keyframe = noted  # type: ignore[method-assign]
        link_forwarding(graph, Address("alice", "video-source"), Address("bob", "video-sink"))
        await until(lambda: len(viewer.pictures) > 5)
        before = len(asked)
        receiver = viewer.connection.getReceivers()[0]
        ssrc = receiver.getSynchronizationSources()[0].source
        for _ in range(50):
            await thread.call(receiver._send_rtcp_pli, ssrc)
            await trio.sleep(0.02)
        await until(lambda: len(asked) > before)
        assert 1 <= len(asked) - before <= 5


async def test_data_channel_carries_text_and_bytes_both_ways(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    opened: list[Address] = []

    def echo(channel: NodeDelegate) -> None:
        opened.append(channel.address)
        channel.request_link_up(*_parts(channel.address))
        graph.link_up(channel.address, Address("test", "ear"))

    session = network.open("alice", on_data_channel=echo)
    ear = probe(graph, "ear")
    async with client_of(thread, session) as client:
        await client.connect(channels=("chat",))
        await client.say("chat", "Grüße")
        await client.say("chat", b"\0\1")
        await client.say("chat", "")
        await until(lambda: len(client.messages) == 3)
        assert client.messages == ["Grüße", b"\0\1", ""]
        assert opened == [Address("alice", "data-chat")]
        assert [(e.cmd, e.obj) for e in ear.events] == [
            (TEXT, "Grüße"), (BINARY, b"\0\1"), (TEXT, ""),
        ]  # fmt: skip
        thread.loop.call_soon_threadsafe(client.channels["chat"].close)
        await until(lambda: Address("alice", "data-chat") not in session.nodes)


def _parts(address: Address) -> tuple[str, str]:
    return address.scope, address.name


async def test_our_offer_is_taken_too(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="decoded")
    async with client_of(thread, session) as client:
        offer = await session.create_offer(["audio"], ["chat"])
        await session.accept_answer(await client.answer(offer, ToneTrack(660)))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, PCM)) > 50)
        sound = np.concatenate([event.obj.samples for event in events(ear, PCM)])
        assert loudest(sound[-RATE // 2 :], RATE) == pytest.approx(660, abs=4)
        await until(lambda: Address("alice", "data-chat") in session.nodes)


async def test_peer_that_vanishes_leaves_the_graph_in_time(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", consent_timeout=1.0)
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440), PictureTrack())
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: len(events(ear, PCM)) > 10)
        ear.delegate.request_link_up("alice", "audio-sink")
        await client.vanish()
        with trio.fail_after(3.0):
            assert await session.wait_ended() is EndReason.SILENCE
            await session.wait_left()
        await until(lambda: ear.links_down)
        assert ear.links_down[0][1:] == ("alice", "audio-sink")
        assert events(ear, END)[-1].obj.reason is EndReason.SILENCE
        assert {node.address for node in graph.snapshot().nodes} == {Address("test", "ear")}


async def test_peer_that_closes_is_gone_at_once(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="forwarded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440))
        ear = probe(graph, "ear", ("alice", "audio-source"))
        await until(lambda: events(ear, RTP))
        await client.close()
        with trio.fail_after(1.0):
            assert await session.wait_ended() is EndReason.BYE
            await session.wait_left()
        await until(lambda: ear.events[-1].cmd == END)


async def test_peer_that_never_connects_is_given_up(
    thread: AsyncioThread, network: WebRtcNetwork
) -> None:
    session = network.open("alice", connect_timeout=0.3)
    await session.create_offer()
    with trio.fail_after(2.0):
        assert await session.wait_ended() is EndReason.SILENCE
        await session.wait_left()


async def test_unread_tracks_hold_no_memory(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    session = network.open("alice", audio="decoded", video="decoded")
    async with client_of(thread, session) as client:
        await client.connect(ToneTrack(440), PictureTrack())
        await until(lambda: session.statistics().tracks[1].inward.handled > 20)
        for track in session._peer.tracks:
            assert track._receiver is not None
            assert track._receiver.track._queue.qsize() <= 1  # type: ignore[attr-defined]
            assert track.inward.waiting <= 2


@pytest.mark.parametrize("offer", ["", "v=0\r\n", "nonsense", "v=0\r\n" + "m=audio 9 X 0\r\n" * 9])
async def test_offer_that_cannot_be_used_is_refused(network: WebRtcNetwork, offer: str) -> None:
    session = network.open("alice")
    with pytest.raises(SdpError):
        await session.accept_offer(offer)
    assert session.ended is EndReason.CLOSED
    assert network.sessions == []


async def test_scope_in_use_closes_the_second_session_only(
    thread: AsyncioThread, network: WebRtcNetwork
) -> None:
    first, second = network.open("alice"), network.open("alice")
    async with client_of(thread, first) as client, client_of(thread, second) as other:
        await client.connect(ToneTrack(440))
        with pytest.raises(GraphError):
            await other.connect(ToneTrack(440))
        assert second.ended is EndReason.CLOSED
        assert first.ended is None


async def test_cancelled_offer_leaves_nothing(
    thread: AsyncioThread, graph: Graph, network: WebRtcNetwork
) -> None:
    for delay in (0.0, 0.001, 0.003, 0.006):
        session = network.open("alice")
        with trio.move_on_after(delay):
            await session.create_offer()
            await trio.sleep_forever()
        await session.close()
        await session.wait_left()
    assert graph.snapshot().nodes == []


async def test_twenty_joins_and_leaves_leave_nothing() -> None:
    threads, files = set(threading.enumerate()), open_files()
    async with (
        AsyncioThread("client") as thread,
        Graph() as graph,
        WebRtcNetwork(graph) as network,
    ):
        for n in range(20):
            session = network.open("alice", audio="decoded", consent_timeout=0.5)
            async with client_of(thread, session) as client:
                await client.connect(ToneTrack(440), channels=("chat",))
                await until(lambda s=session: s.connected)  # type: ignore[misc]
                if n % 5 == 0:
                    await client.vanish()
                elif n % 5 == 1:
                    await session.close()
            await session.wait_left()
            assert graph.snapshot().nodes == []

        async def tasks() -> list[str]:
            here = asyncio.current_task()
            return [repr(task) for task in asyncio.all_tasks() if task is not here]

        assert network.sessions == []
        assert await network._thread.call(tasks) == []
        new = set(threading.enumerate()) - threads
        names = {t.name for t in new if not t.name.startswith("uvloop_")}  # the peers' executor
        assert names == {"client", "webrtc"}
    assert set(threading.enumerate()) <= threads  # idle workers may have ended
    assert open_files() == files


async def test_leaving_the_network_closes_its_sessions() -> None:
    threads = set(threading.enumerate())
    async with AsyncioThread("client") as thread, Graph() as graph:
        async with WebRtcNetwork(graph) as network:
            session, idle = network.open("alice", audio="decoded"), network.open("bob")
            client = client_of(thread, session)
            await (await client.__aenter__()).connect(ToneTrack(440), PictureTrack())
            await until(lambda: session.connected)
        assert session.ended is EndReason.CLOSED
        assert idle.ended is EndReason.CLOSED
        await client.__aexit__(None, None, None)
    assert set(threading.enumerate()) <= threads
