"""One encode for all who hear the same, also where the encoder has a memory."""

import itertools
from collections import deque
from itertools import pairwise

import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Address, Event, Graph
from eventgraph.testing import Probe
from rtp import END, PCM, RTP, AudioFrame, EndOfStream, EndReason, PayloadFormat, RtpPacket
from rtp.audio.codecs import make_decoder, make_encoder
from rtp.audio.frame_encoder import FrameEncoder
from rtp.audio.shared_encoding import HISTORY, WARM_UP, SharedEncoding, SharedMix
from rtp.media import Samples
from rtp.mixing.mixed_frame import MixedFrame
from rtp.nodes import AudioEncoder, AudioMixer, MixerInput

from .listening import main_frequency

RATE = 48000
SIZE = 960
OPUS = PayloadFormat("opus", RATE, 2)
MIXER = Address("room", "mixer")


def sine(frequency: float, index: int, amplitude: float = 6000) -> Samples:
    ticks = np.arange(index * SIZE, (index + 1) * SIZE)
    wave = amplitude * np.sin(2 * np.pi * frequency * ticks / RATE)
    return np.asarray(np.rint(wave), np.int16)


def frame(index: int, frequency: float = 440.0) -> AudioFrame:
    return AudioFrame(sine(frequency, index), RATE, index * SIZE)


def decoded(packets: list[RtpPacket]) -> Samples:
    decoder = make_decoder(OPUS, RATE)
    return np.concatenate([decoder.decode(packet.payload) for packet in packets])


def decibels_at(samples: Samples, frequency: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    middle = round(frequency * len(samples) / RATE)
    return float(20 * np.log10(spectrum[middle - 2 : middle + 3].max() + 1e-9))


class Party:
    """Somebody in the room: an encoder, what it sends, and a way in for who speaks."""

    def __init__(self, graph: Graph, name: str, *, speaks: bool = False) -> None:
        self.encoder = AudioEncoder(name, "out", wanted=OPUS, payload_type=96)
        self.probe = Probe(name, "probe")
        graph.add_node(self.probe)
        graph.add_node(self.encoder).request_link_up(name, "probe")
        if speaks:
            self.input = graph.add_node(MixerInput(name, "in", sample_rate=RATE))
            self.input.request_link_up("room", "mixer")
        graph.link_up(MIXER, Address(name, "out"))

    @property
    def packets(self) -> list[RtpPacket]:
        return [event.obj for event in self.probe.events if event.cmd == RTP]


class CountedEncoder:
    """An encoder of the library, and how often all of these were called.

    In place, and not in a thread: a virtual clock runs ahead of threads.
    """

    calls = itertools.count()
    heavy = False

    def __init__(self, wanted: PayloadFormat, sample_rate: int) -> None:
        self._encoder = make_encoder(wanted, sample_rate)
        self.packet_ticks = self._encoder.packet_ticks

    def encode(self, samples: Samples) -> list[bytes]:
        next(self.calls)
        return self._encoder.encode(samples)


async def test_a_hundred_listeners_and_two_speakers_cost_three_encodes_a_frame(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    frames = 60
    monkeypatch.setattr("rtp.audio.frame_encoder.make_encoder", CountedEncoder)
    async with Graph() as graph:
        mixer = AudioMixer("room", "mixer", sample_rate=RATE)
        graph.add_node(mixer)
        tones = {"a": 440.0, "b": 1000.0}
        speakers = {name: Party(graph, name, speaks=True) for name in tones}
        listeners = [Party(graph, f"listener-{n}") for n in range(100)]
        began = trio.current_time()
        before = next(CountedEncoder.calls)
        for index in range(frames):
            for name, speaker in speakers.items():
                speaker.input.deliver_self(Event(PCM, frame(index, tones[name])))
            await trio.sleep_until(began + 0.02 * (index + 1))
    encodes, made = next(CountedEncoder.calls) - before - 1, mixer.statistics().frames
    assert made >= frames
    assert 3 * made - 15 <= encodes <= 3 * made + 3 * WARM_UP  # to begin with all share one
    assert all(listener.encoder.encoded == 0 for listener in listeners)
    for name, speaker in speakers.items():
        heard = decoded(speaker.packets)[RATE // 2 : RATE]
        (other,) = (tones[party] for party in tones if party != name)
        assert decibels_at(heard, other) - decibels_at(heard, tones[name]) > 30
    for listener in listeners:
        packets = listener.packets
        assert len(packets) >= frames - 5
        assert {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in pairwise(packets)} == {SIZE}
        assert [packet.marker for packet in packets] == [1] + [0] * (len(packets) - 1)
        heard = decoded(packets)[RATE // 2 : RATE]
        for frequency in tones.values():
            assert decibels_at(heard, frequency) - decibels_at(heard, 700) > 30
    assert len({listener.encoder.ssrc for listener in listeners}) == 100


async def test_a_pause_in_speech_keeps_the_encoder_and_a_long_one_gives_it_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("rtp.audio.frame_encoder.make_encoder", CountedEncoder)
    async with Graph() as graph:
        mixer = AudioMixer("room", "mixer", sample_rate=RATE, speaker_hold=0.3)
        graph.add_node(mixer)
        speaker = Party(graph, "a", speaks=True)
        began = trio.current_time()
        silent = {*range(20, 30), *range(40, 80)}
        own: list[int] = []
        for index in range(90):
            piece = np.zeros(SIZE, np.int16) if index in silent else sine(440, index)
            sent = AudioFrame(piece, RATE, index * SIZE)
            speaker.input.deliver_self(Event(PCM, sent))
            await trio.sleep_until(began + 0.02 * index)
            own.append(speaker.encoder.encoded)
        packets = speaker.packets
    assert own[31] - own[20] >= 8  # 0.2 s of pause: its own encoder goes on
    assert own[75] - own[65] == 0  # 0.5 s: the shared one
    assert own[89] > own[79]
    assert {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in pairwise(packets)} == {SIZE}
    assert [packet.marker for packet in packets[1:]] == [0] * (len(packets) - 1)


async def switched(*, warm: bool) -> tuple[Samples, int]:
    """What a decoder makes of a tone that changes encoders each 25 frames."""
    shared = SharedMix()
    recent: deque[AudioFrame] = deque(maxlen=WARM_UP)
    own: FrameEncoder | None = None
    decoder = make_decoder(OPUS, RATE)
    heard = []
    for index in range(200):
        piece = MixedFrame(sine(440, index), RATE, index * SIZE, shared=shared)
        if warm:
            shared.note(piece)
        if index // 25 % 2:
            sounds = await shared.encoding(OPUS).encode(piece)
            own = None
        else:
            before: list[AudioFrame] = []
            if own is None:
                own, before = FrameEncoder(OPUS, RATE), list(recent) if warm else []
            sounds = own.encode([*before, piece])[-1]
        recent.append(piece)
        heard += [decoder.decode(sound.payload) for sound in sounds]
    return np.concatenate(heard), len(heard)


def clicks(sound: Samples) -> list[float]:
    """dB by which each change of encoders is off the tone, beside the tone itself."""
    found = []
    for switch in range(25, 200, 25):
        at = switch * SIZE
        piece = sound[at - SIZE : at + 2 * SIZE].astype(float)
        ticks = np.arange(len(piece)) * 2 * np.pi * 440 / RATE
        basis = np.stack([np.sin(ticks), np.cos(ticks)], axis=1)
        rest = piece - basis @ np.linalg.lstsq(basis, piece, rcond=None)[0]
        found.append(10 * np.log10((rest**2).mean() / (piece**2).mean()))
    return found


async def test_changing_encoders_is_hardly_heard() -> None:
    sound, count = await switched(warm=True)
    assert count == 200
    cold, _ = await switched(warm=False)
    warm_clicks, cold_clicks = clicks(sound), clicks(cold)
    assert np.mean(warm_clicks) < -20
    assert np.mean(cold_clicks) - np.mean(warm_clicks) > 6
    assert main_frequency(sound[RATE:], RATE) == pytest.approx(440, abs=1)


async def test_each_frame_is_encoded_once_and_in_order_whoever_asks_first() -> None:
    mix = SharedMix()
    encoding = mix.encoding(OPUS)
    assert mix.encoding(PayloadFormat("OPUS", RATE)) is encoding
    frames = [frame(index) for index in range(HISTORY + 10)]
    got: dict[tuple[int, int], list[bytes]] = {}

    async def listen(listener: int, step: int) -> None:
        for index in range(0, len(frames), step):
            got[listener, index] = [s.payload for s in await encoding.encode(frames[index])]

    for piece in frames[: HISTORY + WARM_UP]:
        mix.note(piece)
    async with trio.open_nursery() as nursery:
        for listener, step in enumerate((1, 1, 1, 3)):
            nursery.start_soon(listen, listener, step)
    assert encoding.encoded == len(frames)
    assert encoding.missed == 0
    reference = FrameEncoder(OPUS, RATE).encode(frames)
    for (_, index), payloads in got.items():
        assert payloads == [sound.payload for sound in reference[index]]
    assert await encoding.encode(frames[0]) == []  # long past
    assert encoding.missed == 1


async def test_an_encoding_that_nobody_asked_for_is_warmed_up() -> None:
    recent: deque[AudioFrame] = deque(maxlen=WARM_UP + HISTORY)
    encoding = SharedEncoding(OPUS, recent)
    for index in range(100):
        recent.append(frame(index))
    (sound,) = await encoding.encode(frame(99))
    assert encoding.encoded == 1 + WARM_UP
    assert sound.timestamp == 99 * SIZE


async def test_asking_that_is_cancelled_leaves_the_encoding_usable() -> None:
    encoding = SharedEncoding(OPUS, deque())
    with trio.CancelScope() as scope:
        scope.cancel()
        await encoding.encode(frame(0))
    with trio.fail_after(5):
        assert len(await encoding.encode(frame(0))) == 1


async def test_the_next_source_goes_on_in_time_though_its_clock_is_another() -> None:
    encoder, probe = AudioEncoder("a", "out", wanted=OPUS, payload_type=96), Probe("a", "probe")
    shared = SharedMix()

    def mixed(index: int) -> MixedFrame:
        return MixedFrame(sine(440, index), RATE, index * SIZE, shared=shared)

    async with Graph() as graph:
        graph.add_node(probe)
        delegate = graph.add_node(encoder)
        delegate.request_link_up("a", "probe")
        for event in (
            *(Event(PCM, frame(index)) for index in range(1000, 1005)),
            *(Event(PCM, mixed(index)) for index in range(5)),
            Event(END, EndOfStream(EndReason.BYE)),
            Event(PCM, mixed(5)),
        ):
            delegate.deliver_self(event)
    packets = [event.obj for event in probe.events if event.cmd == RTP]
    assert len(packets) == 11
    steps = [b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in pairwise(packets[:10])]
    assert set(steps) == {SIZE}
    assert packets[10].ssrc != packets[9].ssrc
    assert packets[10].marker == 1
