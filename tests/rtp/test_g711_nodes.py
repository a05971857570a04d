"""G711Decoder and G711Encoder: packets to sound and back."""

from typing import Any

import numpy as np
import pytest

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, wait_idle
from rtp import END, PCM, RTP, AudioFrame, EndOfStream, EndReason, PayloadFormat, RtpPacket
from rtp.audio.g711 import decode_pcma, decode_pcmu
from rtp.nodes import G711Decoder, G711Encoder
from rtp.nodes.g711 import Encoding
from rtp.packet import parse_packet

from .pair import rtp

END_EVENT = Event(END, EndOfStream(EndReason.BYE))
RAMP = bytes(range(160))


async def through(node: Node, events: list[Event]) -> list[Event]:
    """What a node makes of these."""
    probe = Probe("test", "probe")
    async with Graph() as graph:
        delegate = graph.add_node(node)
        graph.add_node(probe)
        delegate.request_link_up("test", "probe")
        for event in events:
            assert delegate.deliver_self(event)
        await wait_idle(graph)
    return probe.events


def packet(sequence_number: int, **fields: Any) -> Event:
    parsed = parse_packet(rtp(sequence_number, payload=RAMP, **fields))
    assert isinstance(parsed, RtpPacket)
    return Event(RTP, parsed)


def frame(timestamp: int, sample_rate: int = 8000) -> Event:
    return Event(PCM, AudioFrame(decode_pcmu(RAMP), sample_rate, timestamp))


async def test_decoder_makes_a_frame_of_each_packet() -> None:
    events = await through(
        G711Decoder("test", "decoder"), [packet(1), packet(2, payload_type=8), END_EVENT]
    )
    assert [event.cmd for event in events] == [PCM, PCM, END]
    assert np.array_equal(events[0].obj.samples, decode_pcmu(RAMP))
    assert np.array_equal(events[1].obj.samples, decode_pcma(RAMP))
    assert [event.obj.timestamp for event in events[:2]] == [0, 160]
    assert events[0].obj.duration == 0.02
    assert events[2] is END_EVENT


async def test_timestamps_follow_loss_reordering_rollover_and_the_next_source() -> None:
    start = (1 << 32) - 160
    events = await through(
        G711Decoder("test", "decoder"),
        [
            *(packet(i, timestamp=start + 160 * i) for i in (0, 1, 4, 3)),
            packet(900, ssrc=5, timestamp=77),
            packet(901, ssrc=5, timestamp=77 + 160),
        ],
    )
    assert [event.obj.timestamp // 160 for event in events] == [0, 1, 4, 3, 5, 6]


async def test_decoder_counts_what_is_not_for_it() -> None:
    decoder = G711Decoder(
        "test", "decoder", formats={96: PayloadFormat("pcma", 8000), 3: PayloadFormat("GSM", 8000)}
    )
    empty = parse_packet(rtp(9, payload=b"", payload_type=96))
    events = await through(
        decoder,
        [packet(1), packet(2, payload_type=3), packet(3, payload_type=96), Event(RTP, empty)],
    )
    assert len(events) == 1
    assert np.array_equal(events[0].obj.samples, decode_pcma(RAMP))
    assert decoder.drops == {"not g711": 2, "empty": 1}


@pytest.mark.parametrize(("encoding", "payload_type"), [("PCMU", 0), ("PCMA", 8)])
async def test_encoder_keeps_steps_and_marks_what_follows_a_gap(
    encoding: Encoding, payload_type: int
) -> None:
    events = await through(
        G711Encoder("test", "encoder", encoding=encoding), [frame(0), frame(160), frame(640)]
    )
    packets: list[RtpPacket] = [event.obj for event in events]
    first = packets[0]
    assert {p.ssrc for p in packets} == {first.ssrc}
    assert {p.payload_type for p in packets} == {payload_type}
    assert [(p.sequence_number - first.sequence_number) & 0xFFFF for p in packets] == [0, 1, 2]
    assert [(p.timestamp - first.timestamp) & 0xFFFFFFFF for p in packets] == [0, 160, 640]
    assert [p.marker for p in packets] == [1, 0, 1]
    decoded = await through(G711Decoder("test", "decoder"), events)
    difference = decoded[0].obj.samples.astype(int) - decode_pcmu(RAMP)
    assert np.abs(difference).max() <= 512  # half a step of the loudest segment


async def test_after_the_end_the_encoder_is_another_source() -> None:
    events = await through(
        G711Encoder("test", "encoder", payload_type=100), [frame(0), END_EVENT, frame(0)]
    )
    assert [event.cmd for event in events] == [RTP, END, RTP]
    assert events[0].obj.ssrc != events[2].obj.ssrc
    assert events[2].obj.payload_type == 100


async def test_encoder_does_not_resample() -> None:
    encoder = G711Encoder("test", "encoder")
    assert await through(encoder, [frame(0, sample_rate=48000)]) == []
    assert encoder.drops == {"wrong sample rate": 1}


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="PCMU or PCMA"):
        G711Encoder("test", "encoder", encoding="G722")  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="128"):
        G711Encoder("test", "encoder", payload_type=128)
