"""AudioMixer with its inputs and outputs, on a virtual clock."""

import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Address, Event, Graph, NodeDelegate
from eventgraph.testing import Probe, wait_idle
from rtp import (
    END,
    PCM,
    PCMU,
    RTP,
    STATIC_FORMATS,
    AudioFrame,
    EndOfStream,
    EndReason,
    PayloadFormat,
    RtpPacket,
)
from rtp.audio.codecs import make_encoder
from rtp.audio.g711 import decode_pcma, decode_pcmu, encode_pcmu
from rtp.media import Samples
from rtp.nodes import AudioMixer, G711Encoder, LevelMeter, MixerInput, ToneSource
from rtp.nodes.g711 import Encoding
from rtp.packet import parse_packet
from rtp.packetizer import Packetizer

from .pair import rtp

RATE = 8000
SIZE = 160
TONES = {"a": 440.0, "b": 660.0, "c": 880.0}
MIXER = Address("room", "mixer")


def sine(frequency: float, index: int, samples: int = SIZE) -> Samples:
    ticks = np.arange(index * samples, (index + 1) * samples)
    return np.asarray(np.rint(6000 * np.sin(2 * np.pi * frequency * ticks / RATE)), np.int16)


def packet(frequency: float, index: int, ssrc: int, *, samples: int = SIZE) -> Event:
    data = rtp(
        index,
        timestamp=index * samples,
        ssrc=ssrc,
        payload=encode_pcmu(sine(frequency, index, samples)),
    )
    parsed = parse_packet(data)
    assert isinstance(parsed, RtpPacket)
    return Event(RTP, parsed)


def decibels_at(samples: Samples, frequency: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    middle = round(frequency * len(samples) / RATE)
    return float(20 * np.log10(spectrum[middle - 2 : middle + 3].max() + 1e-9))


class Call:
    """A party: its input and output, and what it hears."""

    def __init__(self, graph: Graph, party: str, encoding: Encoding = "PCMU") -> None:
        self.ssrc = 1000 + sum(party.encode())
        self.delegate = graph.add_node(MixerInput(party, "in"))
        self.output = G711Encoder(party, "out", encoding=encoding)
        self.out = graph.add_node(self.output)
        self.probe = Probe(party, "probe")
        graph.add_node(self.probe)
        self.out.request_link_up(party, "probe")
        self.join(graph)
        self.decode = decode_pcmu if encoding == "PCMU" else decode_pcma

    def join(self, graph: Graph) -> None:
        graph.link_up(self.delegate.address, MIXER)
        graph.link_up(MIXER, self.out.address)

    @property
    def packets(self) -> list[RtpPacket]:
        return [event.obj for event in self.probe.events if event.cmd == RTP]

    def heard(self, last: int = 50) -> Samples:
        return np.concatenate([self.decode(p.payload) for p in self.packets[-last:]])

    def say(self, event: Event) -> None:
        assert self.delegate.deliver_self(event)


async def speak(
    calls: dict[str, Call], frames: int, first: int = 0, silent: set[tuple[str, int]] | None = None
) -> None:
    """Each party sends a packet of its tone every 20 ms, but those in `silent`."""
    for index in range(first, first + frames):
        for party, call in calls.items():
            if (party, index) not in (silent or set()):
                call.say(packet(TONES.get(party, 440.0), index, call.ssrc))
        await trio.sleep(0.02)


def add_mixer(graph: Graph, **options: float) -> tuple[AudioMixer, NodeDelegate]:
    mixer = AudioMixer("room", "mixer", **options)  # type: ignore[arg-type]  # limiter is not used
    return mixer, graph.add_node(mixer)


async def test_each_party_hears_the_others_and_not_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        encodings: dict[str, Encoding] = {"a": "PCMU", "b": "PCMA", "c": "PCMU"}
        calls = {party: Call(graph, party, encodings[party]) for party in TONES}
        await speak(calls, 100)
        statistics = mixer.statistics()
    for party, call in calls.items():
        own = decibels_at(call.heard(), TONES[party])
        for other in TONES.keys() - {party}:
            assert decibels_at(call.heard(), TONES[other]) - own > 30
        packets = call.packets
        assert {p.ssrc for p in packets} == {call.output.ssrc}
        assert set(packets[-5].csrc) == {calls[other].ssrc for other in TONES.keys() - {party}}
        assert [p.marker for p in packets[:3]] == [1, 0, 0]
        assert set(np.diff([p.timestamp for p in packets]) % (1 << 32)) == {SIZE}
    assert set(statistics.speakers) == set(TONES)
    assert statistics.listeners == statistics.mixes == 3
    assert statistics.concealed == statistics.faded == statistics.frames_skipped == 0
    assert list(statistics.levels.values()) == pytest.approx([18, 18, 18], abs=1)
    for voices in statistics.voices.values():
        assert voices[0].delay <= 0.02 + 1.25 * 0.02
        assert voices[0].jitter is not None
        assert voices[0].jitter.missing == 0


async def test_late_input_never_delays_the_others(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    class Timed(Probe):
        def on_event(self, event: Event) -> None:
            times.append(trio.current_time())

    async with Graph() as graph:
        mixer, mixing = add_mixer(graph)
        graph.add_node(Timed("studio", "recorder"))
        mixing.request_link_up("studio", "recorder")
        began = trio.current_time()
        calls = {party: Call(graph, party) for party in TONES}
        await speak(calls, 50)
        await speak({"b": calls["b"], "c": calls["c"]}, 50, 50)  # a has stopped
        await speak(calls, 50, 100)
        faded = mixer.statistics()
    assert times == pytest.approx([began + 0.02 * i for i in range(len(times))], abs=1e-6)
    assert len(times) >= 150
    assert 0 < faded.concealed <= 12  # 0.2 s, then it counts as silent
    gaps = [np.diff([p.timestamp for p in call.packets]) % (1 << 32) for call in calls.values()]
    assert all((gap == SIZE).all() for gap in gaps)


async def test_loss_is_concealed_and_delay_stays_in_its_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lost = {("a", index) for index in range(20, 200, 20)}  # 5 %
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        calls = {party: Call(graph, party) for party in ("a", "b")}
        await speak(calls, 200, silent=lost)
        statistics = mixer.statistics()
    (voice,) = statistics.voices["a"]
    assert voice.jitter is not None
    assert voice.jitter.missing == len(lost)
    assert len(lost) <= statistics.concealed <= 2 * len(lost)
    assert voice.delay <= voice.target + 1.25 * 0.02
    heard = calls["b"].heard(150)[:-SIZE]  # without what was mixed while the graph was left
    frames = heard.reshape(-1, SIZE).astype(float)
    assert (np.sqrt((frames**2).mean(axis=1)) > 1000).all()  # no hole where a packet was lost


async def test_parties_come_and_go_and_come_again(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        calls = {party: Call(graph, party) for party in ("a", "b")}
        await speak(calls, 50)
        assert decibels_at(calls["b"].heard(40), 440) > 100
        graph.link_down(calls["a"].delegate.address, MIXER)
        await speak(calls, 50, 50)
        assert set(mixer.statistics().voices) == {"b"}
        assert decibels_at(calls["b"].heard(40), 440) < 60
        assert decibels_at(calls["a"].heard(40), 660) > 100  # still listens
        graph.link_up(calls["a"].delegate.address, MIXER)
        await speak(calls, 50, 100)
        assert decibels_at(calls["b"].heard(40), 440) > 100
        calls["a"].delegate.request_exit()
        calls["a"].out.request_exit()
        await speak({"b": calls["b"]}, 50, 150)
        assert set(mixer.statistics().voices) == {"b"}
        assert mixer.statistics().listeners == 1
        assert not graph.snapshot().crashes


async def test_an_input_that_crashes_leaves_the_room(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        calls = {party: Call(graph, party) for party in ("a", "b")}
        await speak(calls, 20)
        calls["a"].say(Event(RTP, "no packet"))
        await trio.sleep(0.1)
        assert set(mixer.statistics().voices) == {"b"}
    assert "in@a" in caplog.text


async def test_silent_listeners_share_one_encode(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        speakers = {party: Call(graph, party) for party in ("a", "b")}
        listeners = [Call(graph, f"listener-{i}") for i in range(10)]
        await speak(speakers, 50)
        statistics = mixer.statistics()
    assert statistics.mixes == 3
    assert statistics.listeners == 12
    frames = len(listeners[0].packets)
    assert sum(call.output.encoded for call in listeners) <= frames
    assert set(listeners[0].packets[-5].csrc) == {call.ssrc for call in speakers.values()}
    assert len({listener.packets[-1].payload for listener in listeners}) == 1
    for other in ("a", "b"):
        assert decibels_at(listeners[3].heard(40), TONES[other]) > 100


async def test_pcm_is_mixed_at_any_rate_and_a_meter_hears_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        mixer, mixing = add_mixer(graph)
        meter, probe = LevelMeter("studio", "meter"), Probe("left", "probe")
        graph.add_node(meter)
        graph.add_node(probe)
        for party, rate, frequency in (("left", 8000, 440.0), ("right", 48000, 660.0)):
            tone = ToneSource(party, "tone", frequency=frequency, sample_rate=rate)
            speaker = graph.add_node(tone)
            graph.add_node(MixerInput(party, "in")).request_link_up("room", "mixer")
            speaker.request_link_up(party, "in")
        mixing.request_link_up("studio", "meter")
        mixing.request_link_up("left", "probe")
        await trio.sleep(3)
        assert meter.rms == pytest.approx(-18, abs=0.3)  # two of -21
        statistics = mixer.statistics()
    samples = np.concatenate([event.obj.samples for event in probe.events[-50:]])
    assert decibels_at(samples, 660) - decibels_at(samples, 440) > 30
    for (voice,) in statistics.voices.values():
        assert 0 <= voice.delay <= 0.1
        assert voice.jitter is None
        assert not voice.drops
    assert statistics.faded <= 3


async def test_pcm_that_stops_fades_and_a_flood_is_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        call = Call(graph, "a")
        for i in range(100):
            call.say(Event(PCM, AudioFrame(sine(440, i), RATE, i * SIZE)))
        await trio.sleep(0.5)
        (voice,) = mixer.statistics().voices["a"]
        assert voice.drops["overflow"] > 0
        assert mixer.statistics().faded == 3
        assert mixer.statistics().speakers == []
        call.say(Event(END, EndOfStream(EndReason.BYE)))
        await trio.sleep(0.1)
        assert not graph.snapshot().crashes


async def test_packets_longer_than_a_frame_and_unknown_ones_are_played_right(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        mixer, mixing = add_mixer(graph)
        call, probe = Call(graph, "a"), Probe("studio", "probe")
        graph.add_node(probe)
        mixing.request_link_up("studio", "probe")
        for index in range(40):
            call.say(packet(440, index, 7, samples=240))
            await trio.sleep(0.03)
        (voice,) = mixer.statistics().voices["a"]
        event = parse_packet(rtp(40, timestamp=40 * 240, ssrc=7, payload_type=101))
        call.say(Event(RTP, event))
        await trio.sleep(0.5)
        assert mixer.statistics().voices["a"][0].drops == {"unknown payload type": 1}
    assert voice.concealed == 0
    samples = np.concatenate([event.obj.samples for event in probe.events[20:50]])
    steps = np.abs(np.diff(samples.astype(int)))
    assert steps.max() < 1.2 * 6000 * 2 * np.pi * 440 / RATE  # no seam anywhere


async def test_fifty_parties_hear_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        mixer, _ = add_mixer(graph)
        calls = {f"party-{i}": Call(graph, f"party-{i}") for i in range(50)}
        await speak(calls, 25)
        statistics = mixer.statistics()
        assert len(statistics.voices) == statistics.listeners == statistics.mixes == 50
        assert statistics.concealed == 0
    assert all(len(call.packets[-5].csrc) == 15 for call in calls.values())


async def test_after_a_long_stall_frames_are_left_out(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        mixer, mixing = add_mixer(graph)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert mixer.statistics().frames_skipped == pytest.approx(500, abs=2)
        mixing.request_exit()
        mock_clock.jump(0.02)
        await mixing.wait_exited()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_duration"):
        AudioMixer("room", "mixer", frame_duration=0.0201)
    with pytest.raises(ValueError, match="resync_after"):
        AudioMixer("room", "mixer", resync_after=-1)
    with pytest.raises(ValueError, match="sample_rate"):
        MixerInput("a", "in", sample_rate=0)
    with pytest.raises(ValueError, match="encoding"):
        G711Encoder("a", "out", encoding="G722")  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="payload_type"):
        G711Encoder("a", "out", payload_type=128)


async def test_output_does_not_resample() -> None:
    async with Graph() as graph:
        output = G711Encoder("a", "out")
        delegate = graph.add_node(output)
        delegate.deliver_self(Event(PCM, AudioFrame(sine(440, 0), 48000, 0)))
        await wait_idle(graph)
        assert output.drops == {"wrong sample rate": 1}


async def test_opus_and_g722_callers_join_a_room_of_another_rate() -> None:
    async with Graph() as graph:
        _, mixing = add_mixer(graph, sample_rate=16000)
        probe = Probe("studio", "probe")
        graph.add_node(probe)
        mixing.request_link_up("studio", "probe")
        formats = {111: PayloadFormat("opus", 48000, 2), 9: STATIC_FORMATS[9], 0: PCMU}
        callers = {}
        for payload_type, frequency in ((111, 440.0), (9, 660.0), (0, 880.0)):
            encoder = make_encoder(formats[payload_type], RATE)
            delegate = graph.add_node(
                MixerInput(f"caller-{payload_type}", "in", sample_rate=16000, formats=formats)
            )
            delegate.request_link_up("room", "mixer")
            callers[payload_type] = delegate, encoder, Packetizer(payload_type), frequency
        began = trio.current_time()
        for index in range(40):  # real time: a virtual clock runs ahead of threads
            for delegate, encoder, packetizer, frequency in callers.values():
                for payload in encoder.encode(sine(frequency, index)):
                    ticks = encoder.packet_ticks
                    sent = packetizer.packetize(payload, index * ticks, ticks)
                    delegate.deliver_self(Event(RTP, sent))
            await trio.sleep_until(began + 0.02 * index)
        frames = [event.obj for event in probe.events]
    assert {frame.sample_rate for frame in frames} == {16000}
    heard = np.concatenate([frame.samples for frame in frames[-25:]])[::2]
    for frequency in (440.0, 660.0, 880.0):
        assert decibels_at(heard, frequency) - decibels_at(heard, 1100) > 30
    assert len(frames[-3].csrc) == 3
