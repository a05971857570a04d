"""Mix-minus and levels of a room."""

import numpy as np
import pytest
from aiortc.rtp import compute_audio_level_dbov
from av import AudioFrame as AvFrame
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rtp.audio.g711 import decode_pcmu, encode_pcma, encode_pcmu
from rtp.audio.loudness import SILENCE_LEVEL, audio_levels, level_of, power_at
from rtp.audio_level import level_octet
from rtp.mixing.mix_minus import (
    FADE_FRAMES,
    Frames,
    Room,
    Samples,
    decode_all,
    encode_all,
    mix,
    soft_limit,
)
from rtp.mixing.mixed_frame import MixPayloads

SAMPLES = 160
RATE = 8000

rooms = arrays(
    np.int16,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.one_of(st.just(0), st.integers(-32768, 32767)),
    fill=st.just(0),
)


def tone(frequency: float, amplitude: float = 5000.0, samples: int = SAMPLES) -> Samples:
    phase = 2 * np.pi * frequency * np.arange(samples) / RATE
    return np.asarray(np.rint(amplitude * np.sin(phase)), np.int16)


def amplitude_at(samples: Samples, frequency: float) -> float:
    phase = 2j * np.pi * frequency * np.arange(len(samples)) / RATE
    return float(2 * abs(np.dot(samples, np.exp(-phase))) / len(samples))


def constant(value: int) -> Samples:
    return np.full(SAMPLES, value, np.int16)


@given(rooms)
def test_everybody_hears_the_clipped_sum_of_all_others(frames: Frames) -> None:
    mixed = mix(frames)
    rows: list[list[int]] = frames.tolist()
    for party in range(len(rows)):
        others = [row for other, row in enumerate(rows) if other != party]
        expected = [
            max(-32768, min(32767, sum(row[i] for row in others))) for i in range(len(rows[0]))
        ]
        assert mixed.heard_by(party).tolist() == expected


@given(rooms)
def test_there_is_a_mix_for_each_speaker_and_one_for_all_others(frames: Frames) -> None:
    mixed = mix(frames)
    speakers = [party for party, row in enumerate(frames) if row.any()]
    assert sorted(mixed.speakers.tolist()) == speakers
    assert len(mixed.outputs) == len(speakers) + 1
    for party in range(len(frames)):
        is_shared = mixed.mix_of[party] == len(mixed.outputs) - 1
        assert is_shared == (party not in speakers)


@given(rooms)
def test_levels_agree_with_aiortc(frames: Frames) -> None:
    for level, row in zip(audio_levels(frames).tolist(), frames, strict=True):
        frame = AvFrame.from_ndarray(row[np.newaxis], format="s16", layout="mono")
        # A figure exactly between two may be rounded either way.
        assert abs(level + compute_audio_level_dbov(frame)) <= 1


def test_own_voice_is_rejected_and_the_two_others_are_whole() -> None:
    frequencies = [440.0, 660.0, 880.0]
    frames = np.stack([tone(frequency, samples=RATE) for frequency in frequencies])
    mixed = mix(frames)
    for party, own in enumerate(frequencies):
        heard = mixed.heard_by(party)
        levels = {frequency: amplitude_at(heard, frequency) for frequency in frequencies}
        assert levels.pop(own) < 5000 * 10 ** (-60 / 20)
        assert list(levels.values()) == pytest.approx([5000, 5000], rel=0.001)


def test_sum_beyond_full_scale_is_clipped_not_wrapped() -> None:
    mixed = mix(np.stack([constant(30000), constant(20000), constant(-30000), constant(-20000)]))
    assert mixed.heard_by(2).tolist() == constant(30000).tolist()
    loud = mix(np.stack([constant(30000), constant(20000), constant(0)]))
    assert loud.heard_by(2).tolist() == constant(32767).tolist()
    loud = mix(np.stack([constant(-30000), constant(-20000), constant(0)]))
    assert loud.heard_by(2).tolist() == constant(-32768).tolist()


def test_soft_limit_leaves_moderate_sound_alone_and_never_passes_full_scale() -> None:
    sums = np.arange(-200_000, 200_001, 50, dtype=np.int32)
    limited = soft_limit(sums)
    moderate = np.abs(sums) < 24000
    assert (limited[moderate] == sums[moderate]).all()
    assert (np.diff(limited.astype(np.int32)) >= 0).all()
    assert limited.max() == 32767
    assert limited.min() == -32767
    assert mix(constant(32000)[np.newaxis].repeat(3, 0), limiter=soft_limit).outputs.max() < 32768


def test_five_hundred_listeners_share_one_encode() -> None:
    room = Room(SAMPLES)
    parties = [room.join() for _ in range(500)]
    room.write(parties[7], tone(440))
    room.write(parties[400], tone(660))
    mixed = room.mix()
    payloads = encode_all(mixed.outputs, encode_pcmu)
    assert len(payloads) == 3
    assert len({payloads[mixed.mix_of[party]] for party in parties}) == 3
    assert payloads[mixed.mix_of[7]] == encode_pcmu(tone(660))
    assert payloads[mixed.mix_of[400]] == encode_pcmu(tone(440))
    assert payloads[mixed.mix_of[0]] == encode_pcmu(tone(440) + tone(660))


def test_five_hundred_speakers_each_hear_the_others() -> None:
    frames = np.repeat(np.arange(-250, 250, dtype=np.int16), 4).reshape(500, 4)
    mixed = mix(frames)
    heard = mixed.outputs[mixed.mix_of]
    assert (heard == -250 - frames.astype(np.int32)).all()


def test_party_at_the_quietest_level_is_left_out() -> None:
    frames = np.stack([tone(440, 5000), tone(660, 20)])
    mixed = mix(frames, quietest=60)
    assert mixed.speakers.tolist() == [0]
    assert not mixed.heard_by(0).any()
    assert mixed.heard_by(1).tolist() == tone(440, 5000).tolist()


def test_levels_are_those_of_the_rfc() -> None:
    square = np.tile(np.array([32767, -32767], np.int16), 80)
    frames = np.stack([square, tone(1000, 32767), constant(0), tone(1000, 3276.7)])
    assert audio_levels(frames).tolist() == [0, 3, 127, 23]
    assert power_at(SILENCE_LEVEL) == 0.0
    assert power_at(20) == pytest.approx(3276.7**2)


def test_contributors_are_the_fifteen_loudest_others() -> None:
    frames = np.stack([tone(440, 1000 + 100 * party) for party in range(30)])
    mixed = mix(frames)
    assert mixed.contributors_to(0) == list(range(29, 14, -1))
    assert mixed.contributors_to(29) == list(range(28, 13, -1))
    assert mixed.contributors_to(20) == [p for p in range(29, 13, -1) if p != 20]


def test_empty_room_makes_one_mix_of_silence() -> None:
    mixed = Room(SAMPLES).mix()
    assert mixed.outputs.tolist() == [[0] * SAMPLES]
    assert mixed.mix_of.tolist() == []


def test_missing_input_fades_out_and_delays_nobody() -> None:
    room = Room(SAMPLES)
    late, listener = room.join(), room.join()
    room.write(late, constant(8000))
    heard = [int(room.mix().heard_by(listener)[0]) for _ in range(FADE_FRAMES + 3)]
    assert heard == [8000, 4000, 2000, 1000, 0, 0]
    assert room.faded == FADE_FRAMES
    room.write(late, constant(500))
    assert room.mix().heard_by(listener)[0] == 500


def test_party_that_says_nothing_is_not_missing() -> None:
    room = Room(SAMPLES)
    speaker, listener = room.join(), room.join()
    room.write(speaker, constant(8000))
    room.mix()
    room.write_silence(speaker)
    for _ in range(3):
        assert not room.mix().heard_by(listener).any()
    assert room.faded == 0


def test_numbers_are_used_again_and_nothing_of_the_one_before_is_heard() -> None:
    room = Room(SAMPLES)
    first, second, third = (room.join() for _ in range(3))
    room.write(first, constant(1000))
    room.write(second, constant(2000))
    room.leave(second)
    room.leave(first)
    assert not room.mix().heard_by(third).any()
    assert [room.join(), room.join(), room.join()] == [first, second, 3]
    assert not room.mix().outputs.any()
    assert len(room) == 4


@given(st.lists(st.integers(-1, 20), max_size=100))
def test_who_is_in_the_room_is_heard_whoever_joined_and_left(steps: list[int]) -> None:
    room = Room(1, capacity=1)
    present: dict[int, int] = {}
    for value, step in enumerate(steps, start=1):
        if step >= 0 and present:
            leaver = sorted(present)[step % len(present)]
            room.leave(leaver)
            del present[leaver]
        else:
            party = room.join()
            assert party not in present
            present[party] = value
        for party, sample in present.items():
            room.write(party, np.array([sample], np.int16))
        mixed = room.mix()
        for party, sample in present.items():
            assert mixed.heard_by(party)[0] == sum(present.values()) - sample
    assert len(room) == len(present)


def test_room_does_not_reallocate_until_it_is_full() -> None:
    room = Room(SAMPLES, capacity=4)
    for _ in range(1000):
        parties = [room.join() for _ in range(4)]
        for party in parties:
            room.leave(party)
    assert room.capacity == 4
    for _ in range(5):
        room.join()
    assert room.capacity == 8


def test_codecs_work_on_all_parties_at_once() -> None:
    payloads = [bytes(range(party, party + 160)) for party in range(5)]
    frames = decode_all(payloads, decode_pcmu)
    assert [row.tolist() for row in frames] == [decode_pcmu(p).tolist() for p in payloads]
    again = encode_all(frames, encode_pcmu)
    assert again == [encode_pcmu(row) for row in frames]
    with pytest.raises(ValueError, match="octets"):
        decode_all([b"1", b"22"], decode_pcmu)


def test_misuse_is_refused() -> None:
    room = Room(SAMPLES)
    party = room.join()
    with pytest.raises(ValueError, match="flat"):
        room.write(party, np.zeros(SAMPLES + 1, np.int16))
    with pytest.raises(ValueError, match="int16"):
        room.write(party, np.zeros(SAMPLES, np.float64))
    room.leave(party)
    for misuse in (room.leave, room.write_silence):
        with pytest.raises(KeyError):
            misuse(party)
    with pytest.raises(KeyError):
        room.write(party, constant(1))
    with pytest.raises(ValueError, match="level"):
        Room(SAMPLES, quietest=128)
    with pytest.raises(ValueError, match="capacity"):
        Room(SAMPLES, capacity=0)


def test_several_parties_are_written_in_one_go() -> None:
    one_by_one, at_once = Room(4), Room(4)
    frames = np.array([[1, 2, 3, 4], [50, 60, 70, 80], [900, 800, 700, 600]], np.int16)
    for room in (one_by_one, at_once):
        for _ in frames:
            room.join()
    for party, samples in enumerate(frames):
        one_by_one.write(party, samples)
    at_once.write_all((2, 0, 1), frames[[2, 0, 1]])
    for _ in range(6):  # and fade alike when they are silent
        first, second = one_by_one.mix(), at_once.mix()
        assert first.outputs.tolist() == second.outputs.tolist()
    assert one_by_one.faded == at_once.faded == 9


@pytest.mark.parametrize(
    ("parties", "shape", "dtype", "error"),
    [
        ((0, 7), (2, 4), np.int16, KeyError),
        ((0,), (2, 4), np.int16, ValueError),
        ((0,), (1, 5), np.int16, ValueError),
        ((0,), (1, 4), np.int32, ValueError),
    ],
)
def test_what_is_no_frame_of_the_room_is_refused_and_changes_nothing(
    parties: tuple[int, ...],
    shape: tuple[int, int],
    dtype: type[np.generic],
    error: type[Exception],
) -> None:
    room = Room(4)
    room.join()
    with pytest.raises(error):
        room.write_all(parties, np.ones(shape, dtype))
    assert not room.mix().outputs.any()


def test_all_mixes_of_a_frame_are_encoded_in_one_go() -> None:
    mixes = np.array([[0] * 160, [8000, -8000] * 80, [20] * 160], np.int16)
    payloads = MixPayloads(mixes)
    calls = []

    def encode(samples: Samples) -> bytes:
        calls.append(len(samples))
        return encode_pcmu(samples)

    for row in (1, 0, 2, 1):
        payload, octet = payloads.get(row, "PCMU", encode)
        assert payload == encode_pcmu(mixes[row])
        assert octet == level_octet(level_of(mixes[row]))
    assert calls == [480]
    assert payloads.get(1, "PCMA", encode_pcma)[0] == encode_pcma(mixes[1])
