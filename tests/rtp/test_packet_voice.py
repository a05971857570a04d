"""PacketVoice and FrameVoice, without a graph and without a clock."""

import numpy as np
import pytest

from rtp.audio.codecs import make_encoder
from rtp.audio.g711 import encode_pcma, encode_pcmu
from rtp.media import AudioFrame, Samples
from rtp.mixing.frame_voice import FRAME_LIMIT, FrameVoice
from rtp.mixing.packet_voice import PacketVoice
from rtp.packet import RtpPacket, parse_packet
from rtp.packetizer import Packetizer
from rtp.payload_format import STATIC_FORMATS, PayloadFormat

from .listening import main_frequency, rms
from .pair import rtp

SIZE = 160


def tone(index: int, samples: int = SIZE, rate: int = 8000) -> Samples:
    ticks = np.arange(index * samples, (index + 1) * samples)
    return np.asarray(np.rint(6000 * np.sin(2 * np.pi * 440 * ticks / rate)), np.int16)


def packet(index: int, *, ssrc: int = 1, payload_type: int = 0) -> RtpPacket:
    encode = encode_pcmu if payload_type == 0 else encode_pcma
    parsed = parse_packet(
        rtp(index, ssrc=ssrc, payload_type=payload_type, payload=encode(tone(index)))
    )
    assert isinstance(parsed, RtpPacket)
    return parsed


def take(voice: PacketVoice, due: float, size: int = SIZE) -> Samples:
    voice.gather(due, size)
    samples = voice.render(size)
    assert samples is not None
    assert len(samples) == size
    return samples


@pytest.mark.parametrize(("number", "name"), [(111, "opus"), (9, "G722")])
def test_heavy_codecs_are_played_at_the_rate_of_the_room(number: int, name: str) -> None:
    wanted = PayloadFormat(name, 48000 if name == "opus" else 8000)
    voice = PacketVoice("a", {number: wanted}, 16000, wanted.clock_rate)
    encoder, packetizer = make_encoder(wanted, 8000), Packetizer(number)
    heard, ticks = [], encoder.packet_ticks
    for index in range(60):
        for payload in encoder.encode(tone(index)):
            voice.put(packetizer.packetize(payload, index * ticks, ticks), index * 0.02)
        voice.gather(index * 0.02 + 0.005, 320)
        assert voice.heavy or index <= 2
        heard.append(voice.render(320))
        assert not voice.heavy
    sound = np.concatenate([piece for piece in heard[10:] if piece is not None])
    assert main_frequency(sound, 16000) == pytest.approx(440, abs=2)
    assert rms(sound) == pytest.approx(rms(tone(0, 8000)), abs=1)
    assert voice.statistics().concealed == 0


def test_a_source_that_changes_within_a_frame_of_the_room_is_played_to_its_end() -> None:
    voice = PacketVoice("a", STATIC_FORMATS, 8000, 8000)
    for step in range(100):
        now = step * 0.02
        ssrc, payload_type = (1, 0) if step < 50 else (2, 8)
        voice.put(packet(step, ssrc=ssrc, payload_type=payload_type), now)
        if step % 5 == 4:
            take(voice, now, 5 * SIZE)  # five packets at once
    assert voice.ssrc == 2
    assert not voice.statistics().drops


def test_what_is_damaged_is_concealed_and_fades() -> None:
    opus = PayloadFormat("opus", 48000)
    voice = PacketVoice("a", {111: opus}, 8000, 48000)
    encoder, packetizer = make_encoder(opus, 8000), Packetizer(111)
    levels = []
    for index in range(40):
        (payload,) = encoder.encode(tone(index))[:1] or (b"",)
        sent = packetizer.packetize(payload if index < 30 else b"", index * 960, 960)
        voice.put(sent, index * 0.02)
        levels.append(float(np.abs(take(voice, index * 0.02 + 0.005)).max()))
    assert voice.statistics().drops["undecodable"] > 0
    assert levels[25] > 4000
    assert levels[39] == 0


def test_frames_that_flood_or_trickle_stay_within_the_limit() -> None:
    voice = FrameVoice("a", 8000)
    for index in range(100):
        voice.put(AudioFrame(tone(index), 8000, index * SIZE))
        voice.gather(0.0, SIZE)
        assert voice.statistics().delay <= FRAME_LIMIT
    for _ in range(20):
        voice.gather(0.0, SIZE)
        voice.render(SIZE)
    assert voice.render(SIZE) is None
    voice.put(AudioFrame(tone(0), 8000, 0))
    voice.gather(0.0, SIZE)
    assert voice.render(SIZE) is None  # waits for the target again


@pytest.mark.parametrize("room_rate", [8000, 16000])
def test_what_the_room_decodes_for_all_sounds_as_if_each_decoded_by_itself(room_rate: int) -> None:
    itself, by_room = (PacketVoice("a", STATIC_FORMATS, room_rate, 8000) for _ in range(2))
    size = room_rate // 50
    in_one_go = 0
    for index in range(40):
        if index != 20:  # that one is lost, and concealed from the one before
            payload = encode_pcmu(tone(index, 80 if index == 30 else SIZE))  # 30 is cut short
            data = rtp(index, payload=payload, payload_type=8 if index > 35 else 0)
            arrived = parse_packet(data)
            assert isinstance(arrived, RtpPacket)
            for voice in (itself, by_room):
                voice.put(arrived, index * 0.02)
        due = index * 0.02 + 0.005
        by_room.gather(due, size)
        undecoded = by_room.undecoded(size)
        if undecoded is None:
            heard = by_room.render(size)
        else:
            decode, payload = undecoded
            heard = decode(payload)
            by_room.take_decoded(heard)
            in_one_go += 1
        assert heard.tolist() == take(itself, due, size).tolist()
    assert in_one_go > 30 if room_rate == 8000 else in_one_go == 0
    assert by_room.statistics() == itself.statistics()
    assert itself.statistics().concealed
