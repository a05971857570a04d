"""Codecs, and the nodes that run them in threads."""

import os
import threading
from itertools import pairwise

import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, wait_idle
from rtp import END, PCM, RTP, AudioFrame, EndOfStream, EndReason, PayloadFormat, RtpPacket
from rtp.audio.codecs import Decoder, Encoder, UndecodableError, make_decoder, make_encoder
from rtp.audio.resampling import Resampler
from rtp.audio.sample_queue import SampleQueue
from rtp.codec_pool import codec_pool
from rtp.media import Samples
from rtp.mixing.mixed_frame import MixedFrame
from rtp.nodes import AudioDecoder, AudioEncoder, Echo
from rtp.packet import parse_packet

from .listening import main_frequency, rms
from .pair import rtp

OPUS = PayloadFormat("opus", 48000, 2)
G722 = PayloadFormat("G722", 8000)
FORMATS = {
    0: PayloadFormat("PCMU", 8000),
    8: PayloadFormat("pcma", 8000),
    9: G722,
    111: OPUS,
}
END_EVENT = Event(END, EndOfStream(EndReason.BYE))


def tone(seconds: float, sample_rate: int, frequency: float = 440.0) -> Samples:
    phase = 2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate
    return np.asarray(np.rint(8000 * np.sin(phase)), np.int16)


def frames(seconds: float, sample_rate: int, frame_samples: int) -> list[Event]:
    sound = tone(seconds, sample_rate)
    return [
        Event(PCM, AudioFrame(sound[i : i + frame_samples], sample_rate, i))
        for i in range(0, len(sound), frame_samples)
    ]


async def through(nodes: list[Node], events: list[Event]) -> list[Event]:
    """What a chain of nodes makes of these."""
    async with Graph() as graph:
        probe = Probe("test", "probe")
        probe.channel_size = 1000
        for node in nodes:
            node.channel_size = 1000
        delegates = [graph.add_node(node) for node in (*nodes, probe)]
        for sender, receiver in pairwise(delegates):
            graph.link_up(sender.address, receiver.address)
        for event in events:
            assert delegates[0].deliver_self(event)
        for delegate in delegates[:-1]:
            delegate.request_exit()
            await delegate.wait_exited()
        await wait_idle(graph)
        assert not graph.snapshot().crashes
    return probe.events


@pytest.mark.parametrize("payload_type", FORMATS)
@pytest.mark.parametrize("sample_rate", [8000, 16000, 48000])
def test_a_tone_survives_each_codec_at_each_rate(payload_type: int, sample_rate: int) -> None:
    wanted = FORMATS[payload_type]
    encoder: Encoder = make_encoder(wanted, sample_rate)
    decoder: Decoder = make_decoder(wanted, sample_rate)
    sound = tone(1.0, sample_rate)
    payloads = [
        payload
        for piece in np.array_split(sound, 37)  # of no length that a codec would like
        for payload in encoder.encode(piece)
    ]
    assert 48 <= len(payloads) <= 50
    assert encoder.packet_ticks * 50 == wanted.clock_rate
    decoded = [decoder.decode(payload) for payload in payloads]
    assert {len(samples) for samples in decoded} == {sample_rate // 50}
    heard = np.concatenate(decoded)[sample_rate // 4 :]
    assert main_frequency(heard, sample_rate) == pytest.approx(440, abs=2)
    assert rms(heard) == pytest.approx(rms(sound), abs=1)


def test_what_cannot_be_decoded_is_said_so_and_the_next_one_can() -> None:
    decoder = make_decoder(OPUS, 48000)
    for payload in (b"", b"\xff\xff\xff"):
        with pytest.raises(UndecodableError):
            decoder.decode(payload)
    (payload, *_) = make_encoder(OPUS, 48000).encode(tone(0.04, 48000))
    assert len(decoder.decode(payload)) == 960
    for make in (make_decoder, make_encoder):
        with pytest.raises(ValueError, match="G729"):
            make(PayloadFormat("G729", 8000), 8000)


@pytest.mark.parametrize("payload_type", FORMATS)
async def test_nodes_make_packets_of_frames_and_frames_of_packets(payload_type: int) -> None:
    encoder = AudioEncoder(
        "test", "encoder", wanted=FORMATS[payload_type], payload_type=payload_type
    )
    ssrc = encoder.ssrc
    events = await through([encoder], [*frames(1.0, 16000, 480), END_EVENT])
    assert events[-1] is END_EVENT
    packets: list[RtpPacket] = [event.obj for event in events[:-1]]
    assert 48 <= len(packets) <= 50
    assert {p.ssrc for p in packets} == {ssrc} != {encoder.ssrc}
    assert {p.payload_type for p in packets} == {payload_type}
    assert [p.marker for p in packets] == [1] + [0] * (len(packets) - 1)
    ticks = FORMATS[payload_type].clock_rate // 50
    assert set(np.diff([p.timestamp for p in packets]) % (1 << 32)) == {ticks}
    decoder = AudioDecoder("test", "decoder", formats=FORMATS, sample_rate=8000)
    decoded = [event.obj for event in await through([decoder], events[:-1])]
    assert [frame.timestamp for frame in decoded] == [160 * i for i in range(len(packets))]
    heard = np.concatenate([frame.samples for frame in decoded])[2000:]
    assert main_frequency(heard, 8000) == pytest.approx(440, abs=2)


async def test_a_gap_stays_and_late_or_foreign_packets_are_counted() -> None:
    def packet(number: int, payload_type: int = 0, payload: bytes = bytes(160)) -> Event:
        return Event(RTP, parse_packet(rtp(number, payload_type=payload_type, payload=payload)))

    decoder = AudioDecoder("test", "decoder", formats=FORMATS, sample_rate=8000)
    other = Event(RTP, parse_packet(rtp(5000, ssrc=9)))
    events = await through(
        [decoder],
        [packet(1), packet(4), packet(3), packet(5, 77), packet(6, 111, b""), other, END_EVENT],
    )
    # The Opus packet and the one of another SSRC have clocks of their own.
    assert [e.obj.timestamp // 160 for e in events if e.cmd == PCM] == [0, 3, 4]
    assert decoder.drops == {"late": 1, "unknown payload type": 1, "undecodable": 1}


async def test_encoder_marks_what_follows_a_gap_and_keeps_the_speakers() -> None:
    sound = tone(0.02, 8000)
    events = await through(
        [AudioEncoder("test", "encoder", wanted=OPUS, payload_type=111)],
        [Event(PCM, MixedFrame(sound, 8000, t, (7, 8))) for t in (0, 160, 1600)],
    )
    packets = [event.obj for event in events]
    assert [p.marker for p in packets] == [1, 0, 1]
    assert (packets[-1].timestamp - packets[0].timestamp) % (1 << 32) == 9600
    assert [p.csrc for p in packets] == [[7, 8]] * 3


async def test_heavy_codecs_leave_the_dispatcher_free_and_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = most = 0
    threads: set[int] = set()
    gate, lock = threading.Event(), threading.Lock()

    class Slow:
        heavy = True

        def decode(self, payload: bytes) -> Samples:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            threads.add(threading.get_ident())
            assert gate.wait(10)
            with lock:
                running -= 1
            return np.frombuffer(payload, np.int16)

    monkeypatch.setattr("rtp.nodes.audio_decoder.make_decoder", lambda *_: Slow())
    async with Graph() as graph:
        probe = Probe("test", "probe")
        graph.add_node(probe)
        nodes = [
            AudioDecoder("test", f"decoder-{i}", formats=FORMATS, sample_rate=8000)
            for i in range(8)
        ]
        sound = {number: Event(RTP, parse_packet(rtp(number))) for number in range(3)}
        for node in nodes:
            node.channel_size = 2
            delegate = graph.add_node(node)
            delegate.request_link_up("test", "probe")
        await trio.testing.wait_all_tasks_blocked()
        entry = graph.add_node(Node("test", "entry"))
        link = entry.request_link_up("test", "decoder-0")
        for node in nodes[1:]:
            entry.request_link_up("test", node.name)
        entry.broadcast(sound[0])
        await trio.testing.wait_all_tasks_blocked()  # the dispatcher is idle: nothing blocks it
        assert [entry.deliver(link, sound[number]) for number in (1, 2, 2)] == [True, True, False]
        assert codec_pool().statistics().tasks_waiting == 8 - codec_pool().total_tokens
        gate.set()
        await wait_idle(graph)
        assert len(probe.events) == 10
    assert most <= codec_pool().total_tokens
    assert threading.get_ident() not in threads


def test_resampled_pieces_last_as_long_as_they_did() -> None:
    for from_rate in (8000, 16000, 44100, 48000):
        for to_rate in (8000, 16000, 48000):
            resampler = Resampler(from_rate, to_rate)
            pieces = [resampler.resample(tone(0.02, from_rate)) for _ in range(20)]
            assert {len(piece) for piece in pieces} == {to_rate // 50}
    with pytest.raises(ValueError, match="rates"):
        Resampler(0, 8000)


def test_samples_come_out_in_order_however_they_went_in() -> None:
    queue = SampleQueue()
    sound = np.arange(100, dtype=np.int16)
    for piece in np.array_split(sound, 7):
        queue.put(piece)
    taken = [queue.take(count) for count in (0, 1, 30, 14, 55)]
    assert np.array_equal(np.concatenate(taken), sound)
    assert len(queue) == len(queue.take(5)) == 0


async def test_echo_gives_back_what_came_after_its_delay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        echo, probe = Echo("test", "echo", delay=0.1), Probe("test", "probe")
        delegate = graph.add_node(echo)
        graph.add_node(probe)
        delegate.request_link_up("test", "probe")
        sent = [Event(PCM, AudioFrame(tone(0.02, 8000), 8000, 160 * i)) for i in range(20)]
        for event in sent:
            delegate.deliver_self(event)
            await trio.sleep(0.02)
        assert len(probe.events) in {14, 15}
        delegate.deliver_self(Event(99))
        delegate.deliver_self(END_EVENT)
        await wait_idle(graph)
    assert probe.events == [*sent, END_EVENT]


async def test_echo_is_bounded() -> None:
    echo = Echo("test", "echo", delay=100, max_held=5)
    sent = frames(0.2, 8000, 160)
    assert await through([echo], [*sent, END_EVENT]) == [*sent[5:], END_EVENT]
    assert echo.dropped == 5
    with pytest.raises(ValueError, match="delay"):
        Echo("test", "echo", delay=-1)


def test_codecs_start_no_threads_of_their_own() -> None:
    """FFmpeg would start one for each core, for each encoder and each resampler."""
    before = len(os.listdir("/proc/self/task"))
    allowed = os.sched_getaffinity(0)
    frame = np.zeros(480, np.int16)
    made: list[Encoder | Decoder] = []
    for wanted in (OPUS, G722, FORMATS[0]):
        encoder = make_encoder(wanted, 24000)
        payloads = encoder.encode(frame) + encoder.encode(frame)
        decoder = make_decoder(wanted, 24000)
        decoder.decode(payloads[0])
        made += encoder, decoder
    assert len(os.listdir("/proc/self/task")) == before
    assert os.sched_getaffinity(0) == allowed
