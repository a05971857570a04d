"""Sessions joined with real sockets on loopback."""

import os

import pytest
import trio
import trio.testing

from eventgraph import Graph
from rtp import DropReason, EndOfStream, EndReason, RtpEndpoint, RtpNetwork, RtpPacket
from rtp.packet import is_rtcp, parse_packet

from .pair import FORMATS, SSRC_OF_SOURCE, make_session, rtp
from .wire import Peer, above, peers, until


class Collector:
    """Stands where an RtpSource would."""

    def __init__(self) -> None:
        self.packets: list[RtpPacket] = []
        self.ends: list[EndOfStream] = []

    def take_packet(self, packet: RtpPacket) -> None:
        self.packets.append(packet)

    def take_end(self, end: EndOfStream) -> None:
        self.ends.append(end)


def attach(endpoint: RtpEndpoint) -> Collector:
    collector = Collector()
    endpoint.attach(collector)
    return collector


def is_live(endpoint: RtpEndpoint) -> bool:
    """For mypy, which takes a property for a constant."""
    return endpoint.is_live


def goodbye(peer_endpoint: RtpEndpoint, ssrc: int = SSRC_OF_SOURCE) -> bytes:
    """BYE as the peer would write it."""
    session = make_session(ssrc=ssrc, remote_rtp=peer_endpoint.address)
    session.outgoing.packetize(b"", 0, 0, 0.0)
    session.close(0.0)
    return session.rtcp_to_send()[0].data


async def test_packets_come_in_and_go_back_to_where_they_came_from() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        collector = attach(endpoint)
        with peers(1) as (peer,):
            for i in range(3):
                peer.send(rtp(i), endpoint.address)
            await until(lambda: len(collector.packets) == 3)
            for packet in collector.packets:
                assert endpoint.forward(packet)
            sent_back = [parse_packet(data) for data in await peer.receive(3)]
        assert all(isinstance(packet, RtpPacket) for packet in sent_back)
        assert {p.ssrc for p in sent_back if isinstance(p, RtpPacket)} == {endpoint.session.ssrc}
        statistics = endpoint.statistics()
        assert (statistics.session.packets_received, statistics.session.packets_sent) == (3, 3)
        assert (statistics.rtp.received, statistics.rtp.sent) == (3, 3)


async def test_stray_packet_does_not_steal_the_session() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        collector = attach(endpoint)
        with peers(2) as (peer, stranger):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: len(collector.packets) == 1)
            for i in range(5):
                stranger.send(rtp(i, ssrc=0xBAD), endpoint.address)
            peer.send(rtp(2), endpoint.address)
            await until(lambda: len(collector.packets) == 2)
            endpoint.forward(collector.packets[-1])
            assert len(await peer.receive()) == 1
            assert stranger.received() == []
        assert endpoint.statistics().session.drops == {DropReason.STRAY: 5}
        assert {packet.ssrc for packet in collector.packets} == {SSRC_OF_SOURCE}


async def test_junk_is_counted_by_reason_and_reaches_nobody() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        collector = attach(endpoint)
        with peers(1) as (peer,):
            junk = (b"", b"short", bytes(40), b"\xa0" + rtp(1)[1:-1] + b"\xff")
            for data in (*junk, rtp(1, payload_type=99), rtp(2)):
                peer.send(data, endpoint.address)
            for data in (b"junk", rtp(3)):
                peer.send(data, above(endpoint.address))
            await until(lambda: sum(endpoint.statistics().session.drops.values()) == 7)
        assert [packet.sequence_number for packet in collector.packets] == [2]
        assert endpoint.statistics().session.drops == {
            DropReason.TRUNCATED: 2,
            DropReason.WRONG_VERSION: 2,
            DropReason.MALFORMED: 2,
            DropReason.UNKNOWN_PAYLOAD_TYPE: 1,
        }


async def test_packets_without_a_receiver_or_a_peer_are_counted() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        packet = parse_packet(rtp(1))
        assert isinstance(packet, RtpPacket)
        assert not endpoint.forward(packet)
        with peers(1) as (peer,):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: endpoint.statistics().unclaimed)
        statistics = endpoint.statistics()
        assert statistics.unsent == {"no peer": 1}
        assert statistics.unclaimed == 1
        assert statistics.session.packets_sent == 0


async def test_only_one_receiver_at_a_time() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        collector = attach(endpoint)
        with pytest.raises(ValueError, match="PubSub"):
            attach(endpoint)
        endpoint.detach(Collector())  # a stranger's detaching changes nothing
        with pytest.raises(ValueError, match="PubSub"):
            attach(endpoint)
        endpoint.detach(collector)
        attach(endpoint)


@pytest.mark.parametrize("rtcp_mux", [False, True])
async def test_goodbye_of_the_peer_is_the_end_of_its_source(rtcp_mux: bool) -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS, rtcp_mux=rtcp_mux)
        collector = attach(endpoint)
        assert not is_live(endpoint)
        with peers(2) as (peer, rtcp_peer):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: collector.packets)
            assert is_live(endpoint)
            data = goodbye(endpoint)
            if rtcp_mux:
                peer.send(data, endpoint.address)
            else:
                rtcp_peer.send(data, above(endpoint.address))
            await until(lambda: collector.ends)
            assert collector.ends == [EndOfStream(EndReason.BYE, SSRC_OF_SOURCE)]
            assert not is_live(endpoint)
            peer.send(rtp(1, ssrc=7), endpoint.address)  # a new source of the same peer
            await until(lambda: len(collector.packets) == 2)
            assert is_live(endpoint)


async def test_silence_ends_once_and_a_packet_begins_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS, silence_limit=8.0)
        collector = attach(endpoint)
        await trio.sleep(60)
        assert collector.ends == []  # nobody was ever there
        with peers(1) as (peer,):
            for beginning in (1, 2):
                for i in range(1000):  # 20 s: far more than the limit
                    peer.send(rtp(beginning * 10_000 + i), endpoint.address)
                    await trio.sleep(0.02)
                assert len(collector.ends) == beginning - 1
                assert is_live(endpoint)
                await trio.sleep(20)
                assert collector.ends == [EndOfStream(EndReason.SILENCE)] * beginning
                assert not is_live(endpoint)
                await trio.sleep(100)
                assert len(collector.ends) == beginning


async def test_virtual_time_does_not_run_ahead_of_packets(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        collector = attach(endpoint)
        with peers(1) as (peer,):
            for i in range(5):  # at one and the same time: so close that a real network rests
                peer.send(rtp(i), endpoint.address)
                with trio.fail_after(1e-6):
                    while len(collector.packets) <= i:
                        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("rest", [-0.001, 0.021, float("nan")])
def test_rest_is_no_longer_than_a_packet_of_sound(rest: float) -> None:
    with pytest.raises(ValueError, match="rest"):
        RtpNetwork(rest=rest)


async def test_peer_that_sends_only_rtcp_is_not_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS, silence_limit=8.0, rtcp_mux=True)
        other = network.open(FORMATS, remote_rtp=endpoint.address, rtcp_mux=True)
        collector = attach(endpoint)
        packet = parse_packet(rtp(1))
        assert isinstance(packet, RtpPacket)
        other.forward(packet)
        await trio.sleep(100)
        assert len(collector.packets) == 1
        assert collector.ends == []
        other.close()
        await trio.sleep(1)
        assert [end.reason for end in collector.ends] == [EndReason.BYE]


async def test_reports_are_sent_by_the_timer_to_the_port_above(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        other = network.open(FORMATS, remote_rtp=endpoint.address)
        for i in range(60):
            packet = parse_packet(rtp(i))
            assert isinstance(packet, RtpPacket)
            other.forward(packet)
            await trio.sleep(0.5)
        assert endpoint.statistics().session.rtcp_received > 2
        assert other.statistics().session.rtcp_received > 2
        assert other.statistics().session.round_trip == pytest.approx(0, abs=0.1)
        rtcp = other.statistics().rtcp
        assert rtcp is not None
        assert rtcp.received == other.statistics().session.rtcp_received


async def test_without_rtcp_there_is_one_socket_and_nothing_but_media(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RtpNetwork() as network:
        with peers(1) as (peer,):
            before = len(os.listdir("/proc/self/fd"))
            endpoint = network.open(FORMATS, rtcp=False, remote_rtp=peer.address)
            assert len(os.listdir("/proc/self/fd")) == before + 1
            packet = parse_packet(rtp(1))
            assert isinstance(packet, RtpPacket)
            endpoint.forward(packet)
            await trio.sleep(60)
            endpoint.close()
            assert len(peer.received()) == 1
        assert endpoint.statistics().rtcp is None


async def test_close_says_goodbye_ends_the_source_and_keeps_statistics() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS, rtcp_mux=True)
        collector = attach(endpoint)
        with peers(1) as (peer,):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: collector.packets)
            assert endpoint.forward(collector.packets[0])
            endpoint.close()
            endpoint.close()
            media, bye = await peer.receive(2)
            assert not is_rtcp(media)
            assert is_rtcp(bye)
            assert collector.ends == [EndOfStream(EndReason.CLOSED)]
            assert not endpoint.forward(collector.packets[0])
            again = Peer(endpoint.address[1])  # the port is free
            again.socket.close()
        statistics = endpoint.statistics()
        assert statistics.session.packets_received == 1
        assert statistics.rtp.unsent == {"closed": 1}
        assert network.endpoints == ()


async def test_leaving_the_network_closes_all_and_leaves_nothing_behind() -> None:
    files = len(os.listdir("/proc/self/fd"))
    tasks = trio.lowlevel.current_statistics().tasks_living
    with peers(1) as (peer,):
        async with RtpNetwork() as network, Graph():
            endpoints = [network.open(FORMATS) for _ in range(20)]
            collector = attach(endpoints[0])
            peer.send(rtp(1), endpoints[0].address)
            await until(lambda: collector.packets)
            assert trio.lowlevel.current_statistics().tasks_living <= tasks + 3
    assert all(endpoint.closed for endpoint in endpoints)
    assert len(os.listdir("/proc/self/fd")) == files
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_exception_of_the_body_leaves_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with RtpNetwork() as network:
            endpoint = network.open(FORMATS)
            raise KeyError("mine")
    assert endpoint.closed


async def test_cancelling_from_outside_ends_the_network() -> None:
    with trio.move_on_after(0.01) as scope:
        async with RtpNetwork() as network:
            endpoint = network.open(FORMATS)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert endpoint.closed


async def test_failed_opening_leaves_no_socket() -> None:
    async with RtpNetwork() as network:
        endpoint = network.open(FORMATS)
        files = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="cannot bind"):
            network.open(FORMATS, port=endpoint.address[1])
        with pytest.raises(OSError, match="numeric"):
            network.open(FORMATS, remote_rtp=("example.org", 5004))
        with pytest.raises(ValueError, match="learn"):
            network.open(FORMATS, learn=False)
        assert len(os.listdir("/proc/self/fd")) == files
        assert network.endpoints == (endpoint,)
