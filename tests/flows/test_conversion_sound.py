"""Sound that was converted: tones, levels, channels and timestamps, a block at a time."""

import os
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eventgraph.flows.conversion import Block, BlockConverter, open_conversions
from eventgraph.flows.conversion.g711 import compress, expand
from eventgraph.flows.conversion.sound import LAYOUTS, Sound
from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.format import FlowFormat

CONVERSIONS = open_conversions()
Signal = NDArray[np.float64]
"""Of frames and channels; full scale is 1."""
SECOND = 1_000_000_000
START = 5 * SECOND
SAMPLES = ("s16", "s32", "f32", "mulaw", "alaw")
_SCALES = {"s16": ("<i2", 2.0**15), "s32": ("<i4", 2.0**31), "f32": ("<f4", 1.0)}


def sound_format(sound: Sound) -> FlowFormat:
    parameters: dict[str, Any] = {
        "rate": sound.rate,
        "channels": sound.channels,
        "sample": sound.sample,
    }
    return FlowFormat("AUDIO", parameters)


def opened(source: Sound, target: Sound) -> BlockConverter:
    return CONVERSIONS.open(CONVERSIONS.plan(sound_format(source), sound_format(target)))


def stored(signal: Signal, sound: Sound) -> bytes:
    if sound.law is not None:
        return bytes(compress(sound.law, (signal * 32767).round().astype("<i2").tobytes()))
    kind, scale = _SCALES[sound.sample]
    return (
        (signal * scale if sound.sample == "f32" else (signal * (scale - 1)).round())
        .astype(kind)
        .tobytes()
    )


def read(blocks: list[Block], sound: Sound) -> Signal:
    data = b"".join(bytes(block) for block, _ in blocks)
    kind, scale = _SCALES.get(sound.sample, _SCALES["s16"])
    if sound.law is not None:
        data = bytes(expand(sound.law, memoryview(data)))
    return np.frombuffer(data, kind).reshape(-1, sound.channels) / scale


def tones(rate: int, seconds: float, frequencies: list[float], level: float = 0.4) -> Signal:
    time = np.arange(round(rate * seconds)) / rate
    wave = sum(level * np.sin(2 * np.pi * frequency * time) for frequency in frequencies)
    return np.asarray(wave).reshape(-1, 1)


def converted(
    converter: BlockConverter, source: Sound, data: bytes, milliseconds: int = 20
) -> list[Block]:
    """In blocks, with timestamps as they should be."""
    frames = source.rate * milliseconds // 1000
    blocks: list[Block] = []
    for index, begin in enumerate(range(0, len(data), frames * source.frame_size)):
        part = memoryview(data)[begin : begin + frames * source.frame_size]
        blocks += converter.convert(part, START + index * frames * SECOND // source.rate)
    return blocks + converter.flush()


def spectrum(signal: Signal, rate: int) -> Signal:
    """Level of each frequency in dB of full scale, 1 Hz apart, of a second in the middle."""
    middle = signal[len(signal) // 4 : len(signal) // 4 + rate, 0]
    window = np.blackman(rate)
    amplitude = np.abs(np.fft.rfft(middle * window)) / (window.sum() / 2)
    return np.asarray(20 * np.log10(amplitude + 1e-9))


def decibels(level: float) -> float:
    return float(20 * np.log10(level))


@pytest.mark.parametrize("target_sample", SAMPLES)
@pytest.mark.parametrize("source_sample", SAMPLES)
def test_tones_keep_frequency_and_level_and_nothing_else_is_heard(
    source_sample: Any, target_sample: Any
) -> None:
    source, target = Sound(48000, 2, source_sample), Sound(16000, 1, target_sample)
    signal = np.repeat(tones(48000, 2, [440, 1000]), 2, axis=1)
    blocks = converted(opened(source, target), source, stored(signal, source))
    levels = spectrum(read(blocks, target), 16000)
    for tone in (440, 1000):
        assert abs(levels[tone] - decibels(0.4)) < 0.5
        levels[tone - 3 : tone + 4] = -200
    g711 = source.law is not None or target.law is not None
    assert levels.max() < (-45 if g711 else -90)


@pytest.mark.parametrize(
    ("source_rate", "target_rate"),
    [
        *((16000, 48000), (8000, 48000), (48000, 8000), (44100, 48000), (48000, 44100)),
        *((8000, 384000), (384000, 8000), (47999, 48000), (11025, 16000)),
    ],
)
def test_every_rate_becomes_every_other_in_phase(source_rate: int, target_rate: int) -> None:
    source, target = Sound(source_rate, 1, "f32"), Sound(target_rate, 1, "f32")
    data = stored(tones(source_rate, 1, [440, 1000]), source)
    blocks = converted(opened(source, target), source, data)
    result = read(blocks, target)
    assert len(result) == target_rate
    edge = target_rate // 100  # where the filter has nothing to look at
    ideal = tones(target_rate, 1, [440, 1000])
    assert np.abs(result - ideal)[edge:-edge].max() < 1e-3
    begun = 0
    for block, timestamp in blocks:  # each where its first sample belongs
        assert abs(timestamp - START - begun * SECOND / target_rate) <= 2
        begun += len(block) // target.frame_size


@pytest.mark.parametrize(
    ("source_rate", "target_rate", "tone"),
    [(48000, 16000, 9000), (48000, 8000, 4600), (384000, 44100, 24900)],
)
def test_what_the_lower_rate_cannot_carry_does_not_fold_back(
    source_rate: int, target_rate: int, tone: int
) -> None:
    source, target = Sound(source_rate, 1, "f32"), Sound(target_rate, 1, "f32")
    data = stored(tones(source_rate, 2, [tone]), source)
    levels = spectrum(read(converted(opened(source, target), source, data), target), target_rate)
    assert levels.max() < -80


def test_blocks_join_without_a_click() -> None:
    """Block by block it is, to the bit, what it is in one piece."""
    source, target = Sound(48000, 2, "s16"), Sound(16000, 1, "s16")
    data = stored(np.repeat(tones(48000, 1, [440, 1000]), 2, axis=1), source)
    pieces = converted(opened(source, target), source, data)
    whole = converted(opened(source, target), source, data, milliseconds=1000)
    assert b"".join(bytes(block) for block, _ in pieces) == b"".join(
        bytes(block) for block, _ in whole
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Sound(48000, 2, "s16"), Sound(16000, 1, "s16")),
        (Sound(44100, 1, "s16"), Sound(48000, 2, "f32")),
        (Sound(8000, 1, "mulaw"), Sound(11025, 1, "alaw")),
    ],
)
def test_a_minute_has_the_samples_of_a_minute_and_timestamps_do_not_drift(
    source: Sound, target: Sound
) -> None:
    converter = opened(source, target)
    frames = source.rate // 50
    data = memoryview(stored(np.zeros((frames, source.channels)), source))
    given_out = 0
    for index in range(3000):
        for block, timestamp in converter.convert(data, START + index * SECOND // 50):
            assert abs(timestamp - START - given_out * SECOND / target.rate) <= 2
            given_out += len(block) // target.frame_size
    assert 60 * target.rate - 64 * max(1, target.rate // source.rate) <= given_out
    for block, _ in converter.flush():
        given_out += len(block) // target.frame_size
    assert abs(given_out - 60 * target.rate) <= 1


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_codes_come_back_unchanged_from_a_round_trip(law: Any) -> None:
    coded, linear = Sound(8000, 1, law), Sound(8000, 1, "s16")
    codes = bytes(set(range(256)) - {0x7F})  # two codes of mu-law mean 0, and one comes back
    (there,) = opened(coded, linear).convert(memoryview(codes), 0)
    (back,) = opened(linear, coded).convert(memoryview(there[0]), 0)
    assert bytes(back[0]) == codes


def test_mono_is_the_mean_of_stereo_and_cannot_clip() -> None:
    for sample in ("s16", "f32"):
        source, target = Sound(16000, 2, sample), Sound(16000, 1, sample)
        signal = np.array([[0.5, 0.0], [0.0, 0.5], [0.9, 0.9], [0.5, -0.5]])
        (block,) = opened(source, target).convert(memoryview(stored(signal, source)), 0)
        assert read([block], target)[:, 0] == pytest.approx([0.25, 0.25, 0.9, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("channels", "heard"),
    [(2, {0, 1}), (3, {2}), (4, {0, 1}), (5, {2}), (6, {2}), (7, {2}), (8, {2})],
)
@pytest.mark.parametrize("sample", SAMPLES)
def test_mono_goes_at_full_level_to_both_sides_or_to_the_centre(
    channels: int, heard: set[int], sample: Any
) -> None:
    source, target = Sound(16000, 1, sample), Sound(16000, channels, sample)
    (block,) = opened(source, target).convert(memoryview(stored(np.full((50, 1), 0.5), source)), 0)
    frame = read([block], target)[25]
    for channel in range(channels):
        assert frame[channel] == pytest.approx(0.5 if channel in heard else 0, abs=0.02)


@pytest.mark.parametrize("target_channels", range(1, len(LAYOUTS) + 1))
@pytest.mark.parametrize("source_channels", range(1, len(LAYOUTS) + 1))
def test_no_mix_is_louder_than_its_loudest_channel_allows(
    source_channels: int, target_channels: int
) -> None:
    source, target = Sound(48000, source_channels, "f32"), Sound(16000, target_channels, "f32")
    signal = np.ones((48000 // 10, source_channels))
    result = read(converted(opened(source, target), source, stored(signal, source)), target)
    assert 0.7 < result[800].max() <= 1.001


def test_too_loud_sound_is_clipped_and_does_not_wrap() -> None:
    source, target = Sound(8000, 1, "f32"), Sound(8000, 1, "s16")
    data = np.array([2.0, -2.0, 0.5], "<f4").tobytes()
    (block,) = opened(source, target).convert(memoryview(data), 0)
    assert np.frombuffer(block[0], "<i2").tolist() == [32767, -32768, 16384]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_numbers_that_are_none_are_forgotten(poison: float) -> None:
    source, target = Sound(48000, 1, "f32"), Sound(16000, 1, "f32")
    converter = opened(source, target)
    converter.convert(memoryview(np.full(960, poison, "<f4").tobytes()), 0)
    good = memoryview(np.full(960, 0.5, "<f4").tobytes())
    converter.convert(good, SECOND // 50)
    (block,) = converter.convert(good, 2 * SECOND // 50)
    assert read([block], target) == pytest.approx(0.5, abs=1e-4)


def test_gap_flushes_what_was_held_back_and_begins_anew() -> None:
    source, target = Sound(48000, 1, "s16"), Sound(16000, 1, "s16")
    converter = opened(source, target)
    data = memoryview(stored(np.full((960, 1), 0.5), source))
    (first,) = converter.convert(data, START)
    later = START + 7 * SECOND
    rest, second = converter.convert(data, later)
    assert first[1] == START
    assert rest[1] == START + len(first[0]) // 2 * SECOND // 16000
    assert len(first[0]) + len(rest[0]) == 320 * 2
    assert second[1] == later
    assert len(second[0]) == len(first[0])
    assert read([second], target)[:250] == pytest.approx(0.5, abs=1e-3)  # nothing of before


def test_block_that_is_no_whole_number_of_frames_is_refused_and_changes_nothing() -> None:
    source, target = Sound(48000, 2, "s16"), Sound(16000, 1, "s16")
    data = stored(np.repeat(tones(48000, 0.1, [440]), 2, axis=1), source)
    undisturbed = converted(opened(source, target), source, data)
    converter = opened(source, target)
    half = len(data) // 2
    blocks = converter.convert(memoryview(data)[:half], START)
    with pytest.raises(FlowOptionError, match=r"3841 octets .* samples of 4 \(2 x s16\)"):
        converter.convert(memoryview(bytes(3841)), START + SECOND // 20)
    with pytest.raises(FlowOptionError, match="before the end"):
        converter.convert(memoryview(data)[:half], START)
    assert converter.convert(memoryview(b""), START) == []
    blocks += converter.convert(memoryview(data)[half:], START + SECOND // 20)
    blocks += converter.flush()
    assert b"".join(bytes(block) for block, _ in blocks) == b"".join(
        bytes(block) for block, _ in undisturbed
    )


def test_what_comes_out_does_not_change_with_the_slot_it_came_from() -> None:
    for target in (Sound(8000, 1, "s16"), Sound(8000, 1, "f32"), Sound(8000, 2, "s16")):
        slot = bytearray(b"\1\1" * 160)
        ((block, _),) = opened(Sound(8000, 1, "s16"), target).convert(memoryview(slot), 0)
        before = bytes(block)
        slot[:] = bytes(320)
        assert bytes(block) == before


def test_nothing_is_flushed_twice() -> None:
    source, target = Sound(48000, 1, "s16"), Sound(16000, 1, "s16")
    converter = opened(source, target)
    assert converter.flush() == []
    converter.convert(memoryview(bytes(1920)), 0)
    assert converter.flush() != []
    assert converter.flush() == []


def test_a_converter_starts_no_thread() -> None:
    source, target = Sound(48000, 2, "s16"), Sound(16000, 1, "mulaw")
    converter = opened(source, target)  # numpy's threads are there by now
    before = len(os.listdir("/proc/self/task"))
    converter.convert(memoryview(bytes(3840)), 0)
    assert len(os.listdir("/proc/self/task")) == before


@settings(max_examples=60, deadline=None)
@given(
    source=st.builds(Sound, st.integers(8000, 384000), st.integers(1, 8), st.sampled_from(SAMPLES)),
    target=st.builds(Sound, st.integers(8000, 384000), st.integers(1, 8), st.sampled_from(SAMPLES)),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    lost=st.booleans(),
)
def test_no_block_is_larger_than_announced(
    source: Sound, target: Sound, sizes: list[int], lost: bool
) -> None:
    converter = opened(source, target)
    most = converter.max_block_size(max(sizes) * source.frame_size)
    blocks: list[Block] = []
    taken = 0
    for size in sizes:
        timestamp = taken * SECOND // source.rate
        blocks += converter.convert(memoryview(bytes(size * source.frame_size)), timestamp)
        taken += size
    if lost:
        after = taken * SECOND // source.rate + SECOND
        blocks += converter.convert(memoryview(bytes(source.frame_size)), after)
    blocks += converter.flush()
    assert all(len(block) % target.frame_size == 0 for block, _ in blocks)
    assert all(0 < len(block) <= most for block, _ in blocks)
    assert all(before < after for (_, before), (_, after) in pairwise(blocks))
    total = sum(len(block) for block, _ in blocks) // target.frame_size
    ideal = taken * target.rate / source.rate
    assert total <= ideal + 2
    if taken >= 100 * max(1, source.rate / target.rate):  # else it is shorter than the filter
        assert total >= ideal - 1
