"""RtpSource and RtpSink: from the network into a graph, and out of it again."""

from typing import Any

from eventgraph import Address, Event, Graph
from eventgraph.testing import Probe, wait_idle
from rtp import END, PCM, RTP, EndOfStream, EndReason, RtpNetwork, RtpPacket
from rtp.nodes import Forwarder, RtpSink, RtpSource
from rtp.packet import parse_packet

from .pair import FORMATS, SSRC_OF_SOURCE, rtp
from .wire import peers, until


def packet(sequence_number: int, **fields: Any) -> RtpPacket:
    parsed = parse_packet(rtp(sequence_number, **fields))
    assert isinstance(parsed, RtpPacket)
    return parsed


async def test_packets_pass_through_the_graph_intact() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        with peers(2) as (peer, target):
            endpoint = network.open(FORMATS, remote_rtp=target.address, learn=True)
            graph.add_node(RtpSource("call", "source", endpoint))
            graph.add_node(Forwarder("call", "forwarder"))
            graph.add_node(RtpSink("call", "sink", endpoint))
            graph.link_up(Address("call", "source"), Address("call", "forwarder"))
            graph.link_up(Address("call", "forwarder"), Address("call", "sink"))
            await wait_idle(graph)
            sent = [rtp(i, payload=bytes([i & 0xFF]) * 160) for i in (65534, 65535, 0, 1, 5)]
            for data in sent:
                peer.send(data, endpoint.address)
            received = await target.receive(len(sent))
            for before, after in zip(sent, received, strict=True):
                assert after[:8] == before[:8]  # flags, payload type, sequence, timestamp
                assert after[8:12] == endpoint.session.ssrc.to_bytes(4, "big")
                assert after[12:] == before[12:]


async def test_links_hear_the_end_and_then_the_next_source() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        endpoint = network.open(FORMATS)
        source = graph.add_node(RtpSource("call", "source", endpoint))
        probe = Probe("call", "probe")
        graph.add_node(probe)
        source.request_link_up("call", "probe")
        await wait_idle(graph)
        with peers(1) as (peer,):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: probe.events)
            endpoint.close()
        await wait_idle(graph)
        assert [event.cmd for event in probe.events] == [RTP, END]
        assert probe.events[0].obj.ssrc == SSRC_OF_SOURCE
        assert probe.events[1].obj == EndOfStream(EndReason.CLOSED)


async def test_source_counts_what_no_link_takes_and_lets_go_of_the_endpoint() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        endpoint = network.open(FORMATS)
        node = RtpSource("call", "source", endpoint)
        source = graph.add_node(node)
        await wait_idle(graph)
        with peers(1) as (peer,):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: node.packets_untaken)
            source.request_exit()
            await source.wait_exited()
            peer.send(rtp(2), endpoint.address)
            await until(lambda: endpoint.statistics().unclaimed)
        graph.add_node(RtpSource("call", "source", endpoint))  # the address and the place are free


async def test_a_second_source_of_an_endpoint_crashes_and_the_first_goes_on() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        endpoint = network.open(FORMATS)
        first = RtpSource("call", "first", endpoint)
        graph.add_node(first)
        await wait_idle(graph)
        await graph.add_node(RtpSource("call", "second", endpoint)).wait_exited()
        assert graph.snapshot().crash_count == 1
        with peers(1) as (peer,):
            peer.send(rtp(1), endpoint.address)
            await until(lambda: first.packets_untaken)


async def test_sink_translates_payload_types_and_counts_those_it_cannot_send() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        with peers(1) as (target,):
            endpoint = network.open(FORMATS, remote_rtp=target.address)
            node = RtpSink("call", "sink", endpoint, payload_types={96: 8})
            sink = graph.add_node(node)
            for payload_type in (96, 0, 97):
                sink.deliver_self(Event(RTP, packet(1, payload_type=payload_type)))
            sink.deliver_self(Event(PCM, "not for a sink"))
            sent = [parse_packet(data) for data in await target.receive(2)]
            await wait_idle(graph)
        assert [p.payload_type for p in sent if isinstance(p, RtpPacket)] == [8, 0]
        assert node.drops == {"unknown payload type": 1}


async def test_feed_that_changes_keeps_one_ssrc_and_one_numbering() -> None:
    async with RtpNetwork() as network, Graph() as graph:
        with peers(1) as (target,):
            endpoint = network.open(FORMATS, remote_rtp=target.address)
            sink = graph.add_node(RtpSink("call", "sink", endpoint))
            for event in (packet(10), packet(11), packet(500, ssrc=9), packet(501, ssrc=9)):
                sink.deliver_self(Event(RTP, event))
            sent = [parse_packet(data) for data in await target.receive(4)]
        packets = [p for p in sent if isinstance(p, RtpPacket)]
        assert {p.ssrc for p in packets} == {endpoint.session.ssrc}
        assert [p.sequence_number for p in packets] == [10, 11, 12, 13]
        assert [p.marker for p in packets] == [0, 0, 1, 0]
