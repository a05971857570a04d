"""Sessions and jitter buffers as Prometheus sees them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from eventgraph import Address, Graph
from eventgraph.slices import at_once
from eventgraph.testing import Probe
from rtp import RtpNetwork
from rtp.asyncio_thread import AsyncioThread
from rtp.media import RTP
from rtp.metrics.network import NetworkCollector
from rtp.metrics.sound import SoundCollector
from rtp.metrics.webrtc import WebRtcCollector
from rtp.nodes import Playout
from rtp.webrtc import WebRtcNetwork
from rtp.webrtc.session import WayName
from tests.metrics.scraping import samples
from tests.rtp.pair import FORMATS, rtp
from tests.rtp.test_playout import send
from tests.rtp.wire import Peer, peers, until
from tests.webrtc.peers import ToneTrack, client_of, needs_address
from tests.webrtc.waiting import until as webrtc_until


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[RtpNetwork, Peer]]:
    async with RtpNetwork() as network:
        with peers(1) as (peer,):
            yield network, peer


async def test_packets_losses_and_drops_of_all_sessions_are_added_up() -> None:
    async with receiving() as (network, peer):
        collector = NetworkCollector(network)
        first, second = network.open(FORMATS), network.open(FORMATS)
        for number in (0, 1, 4):  # two are lost
            peer.send(rtp(number), first.address)
        peer.send(rtp(0), second.address)
        peer.send(b"junk", second.address)
        await until(lambda: second.statistics().session.drops != {})
        await until(lambda: first.statistics().session.packets_received == 3)
        shown = samples(collector)
        assert shown["rtp_packets_received_total"] == 4
        assert shown["rtp_received_bytes_total"] == 4 * 160
        assert shown["rtp_packets_lost_total"] == 2
        assert shown["rtp_packets_unclaimed_total"] == 4
        assert shown["rtp_sessions{state=live}"] == 2
        assert sum(shown[f"rtp_packets_dropped_total{{reason={r}}}"] for r in JUNK) == 1
        assert shown["rtp_jitter_seconds_count"] == 2


JUNK = ("truncated", "wrong version", "malformed")


async def test_duplicates_do_not_take_a_loss_back() -> None:
    async with receiving() as (network, peer):
        collector, endpoint = NetworkCollector(network), network.open(FORMATS)

        async def lost_after(*numbers: int) -> float:
            wanted = endpoint.statistics().session.packets_received + len(numbers)
            for number in numbers:
                peer.send(rtp(number), endpoint.address)
            await until(lambda: endpoint.statistics().session.packets_received == wanted)
            return samples(collector)["rtp_packets_lost_total"]

        assert await lost_after(0, 1, 4) == 2
        assert await lost_after(4, 4) == 2
        assert await lost_after(8, 10) == 4  # of 11 expected 7 have come


async def test_closed_session_stays_in_the_totals_with_its_last_packet() -> None:
    async with receiving() as (network, peer):
        collector, endpoint = NetworkCollector(network), network.open(FORMATS)
        assert samples(collector)["rtp_packets_received_total"] == 0
        peer.send(rtp(0), endpoint.address)
        await until(lambda: endpoint.statistics().session.packets_received == 1)
        endpoint.close()  # with no scrape in between
        shown = samples(collector)
        assert shown["rtp_packets_received_total"] == 1
        assert shown["rtp_sessions{state=live}"] == shown["rtp_sessions{state=silent}"] == 0
        assert not collector._totals._seen  # nothing is kept of it


async def test_session_that_closes_while_it_is_read_is_counted_once() -> None:
    async with receiving() as (network, peer):
        collector = NetworkCollector(network)
        endpoints = [network.open(FORMATS), network.open(FORMATS)]
        for endpoint in endpoints:
            peer.send(rtp(0), endpoint.address)
        await until(lambda: all(e.statistics().session.packets_received for e in endpoints))
        reading = collector.read_steps()
        next(reading)
        for endpoint in endpoints:
            endpoint.close()
        at_once(reading)
        shown = samples(collector)
        assert shown["rtp_packets_received_total"] == 2
        assert not collector._totals._seen


async def test_delay_and_losses_of_jitter_buffers_are_shown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        before = graph.add_node(Playout("a", "playout"))
        collector = SoundCollector(graph)
        after = graph.add_node(Playout("b", "playout"))
        graph.add_node(Probe("a", "no-buffer"))
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, before, range(100))
            await send(after, range(100), lost=lambda index: index == 50)
        shown = samples(collector)
        assert shown["rtp_jitter_buffers"] == 2
        assert shown["rtp_jitter_buffer_delay_seconds_count"] == 2
        assert 0 < shown["rtp_jitter_buffer_longest_delay_seconds"] <= 0.06
        assert shown["rtp_jitter_buffer_missing_total"] == 1
        played = shown["rtp_jitter_buffer_played_total"]
        assert played >= 190
        reading = collector.read_steps()
        next(reading)
        for node in (before, after):
            node.request_exit()
            await node.wait_exited()
        at_once(reading)  # they left meanwhile
        shown = samples(collector)
        assert shown["rtp_jitter_buffers"] == 0
        assert played <= shown["rtp_jitter_buffer_played_total"] < played + 20
        assert shown["rtp_jitter_buffer_missing_total"] == 1


@needs_address
async def test_packets_of_webrtc_sessions_are_counted_also_when_they_are_over() -> None:
    async with (
        AsyncioThread("client") as thread,
        Graph() as graph,
        WebRtcNetwork(graph) as network,
    ):
        collector = WebRtcCollector(network)
        session = network.open("alice", audio="forwarded")
        async with client_of(thread, session) as client:
            await client.connect(ToneTrack(440))
            ear = Probe("test", "ear")
            ear.channel_size = 1024
            graph.add_node(ear)
            graph.link_up(Address("alice", "audio-source"), Address("test", "ear"))
            await webrtc_until(lambda: sum(e.cmd == RTP for e in ear.events) > 10)
            shown = samples(collector)
            assert shown["rtp_webrtc_sessions{state=connected}"] == 1
            seen = shown["rtp_webrtc_packets_total{direction=in,kind=audio}"]
            assert seen > 10
        await session.wait_left()
        shown = samples(collector)
        assert shown["rtp_webrtc_sessions{state=connected}"] == 0
        assert shown["rtp_webrtc_packets_total{direction=in,kind=audio}"] >= seen


@needs_address
@pytest.mark.parametrize("sound", ["decoded", "forwarded"])
async def test_what_the_network_loses_of_webrtc_is_seen_on_both_ways(sound: WayName) -> None:
    async with (
        AsyncioThread("client") as thread,
        Graph() as graph,
        WebRtcNetwork(graph) as network,
    ):
        collector = WebRtcCollector(network)
        session = network.open("alice", audio=sound)

        def shown(metric: str, way: str) -> float:
            return samples(collector)[f"rtp_webrtc_{metric}{{direction={way},kind=audio}}"]

        async with client_of(thread, session) as client:
            await client.connect(ToneTrack(440))
            graph.link_up(Address("alice", "audio-source"), Address("alice", "audio-sink"))
            await webrtc_until(lambda: len(client.sound) > 10)
            assert shown("packets_lost_total", "in") == shown("packets_lost_total", "out") == 0
            lost = await client.lose(every=10)
            await webrtc_until(lambda: min(lost["sent"], lost["received"]) >= 5)
            await client.lose_no_more()
            # What is forwarded keeps its gaps: the peer misses that, too.
            gone = lost["received"] + (lost["sent"] if sound == "forwarded" else 0)
            await webrtc_until(lambda: shown("packets_lost_total", "in") == lost["sent"])
            await webrtc_until(lambda: shown("packets_lost_total", "out") == gone)
            await webrtc_until(
                lambda: samples(collector)["rtp_webrtc_round_trip_seconds_count"] > 0
            )
            for way in ("in", "out"):
                assert shown("network_packets_total", way) > 50
                assert shown("jitter_seconds_count", way) > 0
                assert shown("jitter_seconds_sum", way) < 0.1 * shown("jitter_seconds_count", way)
            reading = collector.read_steps()
            next(reading)
        await session.wait_left()
        at_once(reading)  # it ended meanwhile
        assert shown("packets_lost_total", "in") == lost["sent"]
        assert shown("packets_lost_total", "out") == gone
        assert not collector._on_network._seen  # nothing is kept of it
        before = shown("jitter_seconds_count", "in")
        assert shown("jitter_seconds_count", "in") == before


def test_reasons_are_those_of_the_sessions() -> None:
    """All of them stand at 0 from the start, so that the first one is seen as a rise."""

    async def main() -> dict[str, float]:
        async with RtpNetwork() as network:
            return samples(NetworkCollector(network))

    shown = trio.run(main)
    assert shown["rtp_packets_dropped_total{reason=stray}"] == 0
    assert shown["rtp_packets_unsent_total{reason=no peer}"] == 0
