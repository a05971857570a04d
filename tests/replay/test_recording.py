"""Recordings: what is written is read again, whole records only; hostile files are errors."""

import zlib
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Address, Event, Passed
from eventgraph.replay import (
    ObjectCodec,
    RecordEncoder,
    Recording,
    RecordingEnd,
    RecordingError,
    UnrecordableError,
)
from eventgraph.replay.records import MAGIC, frame
from rtp.dtmf import KeyPress
from rtp.media import AudioFrame, EndOfStream, EndReason, LevelChange
from rtp.mixing.mixed_frame import MixedFrame
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.recorded_objects import media_objects

A, B, C = (Address("test", name) for name in "abc")
OBJECTS = media_objects()
SOUND = np.arange(-80, 80, dtype=np.int16)


def passed(time: float, obj: object, sender: Address = A) -> Passed:
    return Passed(time, sender, B, Event(7, obj, C), 0)


def packet() -> RtpPacket:
    data = build_packet(b"\x7f" * 160, payload_type=0, sequence_number=9, timestamp=8, ssrc=7)
    parsed = parse_packet(data)
    assert isinstance(parsed, RtpPacket)
    return msgspec.structs.replace(parsed, level_octet=0x85)


def record(path: Path, *objects: object) -> bytes:
    """Written, a second apart; where each record ends."""
    encoder = RecordEncoder(OBJECTS, 100.0)
    data = MAGIC + encoder.encode([passed(100.0 + n, obj) for n, obj in enumerate(objects)])
    data += encoder.end(dropped=3)
    path.write_bytes(data)
    return data


def read(path: Path) -> list[Any]:
    return [recorded.event.obj for recorded in Recording(path, OBJECTS)]


@pytest.mark.parametrize(
    "obj",
    [
        None,
        True,
        -5,
        2.5,
        "text",
        b"bytes",
        [1, 2, 3],
        {"a": b"b"},
        packet(),
        EndOfStream(EndReason.BYE, 5),
        LevelChange(-20.5, 160, 8000),
        KeyPress("5", ended=False),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_what_nodes_hand_to_each_other_is_the_same_again(tmp_path: Path, obj: object) -> None:
    record(tmp_path / "file", obj)
    (again,) = read(tmp_path / "file")
    assert type(again) is type(obj)
    assert again == obj


def test_sound_arrays_and_pictures_are_the_same_again(tmp_path: Path) -> None:
    array = np.linspace(0, 1, 24).reshape(2, 3, 4)
    pixels = np.random.default_rng(1).integers(0, 255, (72, 64), np.uint8)
    picture = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
    picture.pts, picture.time_base = 3000, Fraction(1, 90000)
    sounds = AudioFrame(SOUND, 8000, -160), MixedFrame(SOUND, 16000, 320, (5, 6))
    record(tmp_path / "file", *sounds, array, picture)
    sound, mix, numbers, shown = read(tmp_path / "file")
    assert type(sound) is AudioFrame
    assert type(mix) is MixedFrame
    for frame_, before in ((sound, sounds[0]), (mix, sounds[1])):
        assert np.array_equal(frame_.samples, before.samples)
        assert (frame_.sample_rate, frame_.timestamp) == (before.sample_rate, before.timestamp)
    assert mix.csrc == (5, 6)
    assert np.array_equal(numbers, array)
    assert numbers.dtype == array.dtype
    assert (shown.pts, shown.time_base, shown.format.name) == (3000, Fraction(1, 90000), "yuv420p")
    assert np.array_equal(shown.to_ndarray(), pixels)


def test_times_and_ways_are_kept(tmp_path: Path) -> None:
    encoder = RecordEncoder(OBJECTS, 10.0)
    seen = [passed(10.5, 1), passed(11.25, 2, C), passed(12.000000001, 3)]
    (tmp_path / "file").write_bytes(MAGIC + encoder.encode(seen) + encoder.end(dropped=1))
    recording = Recording(tmp_path / "file", OBJECTS)
    assert recording.ways() == [(A, B), (C, B)]
    assert [(e.time, e.sender, e.event.obj) for e in recording] == [
        (0.5, A, 1),
        (1.25, C, 2),
        (2.000000001, A, 3),
    ]
    assert recording.end == RecordingEnd(3, 1)


class Voice:
    pass


@pytest.mark.parametrize(
    "obj",
    [Voice(), [Voice()], {1: 2}, (1, 2), 1 << 80, np.array([Voice()]), "\ud800"],
    ids=["object", "in a list", "keys", "tuple", "large", "array", "half a character"],
)
def test_what_cannot_be_recorded_is_counted_and_the_rest_is_recorded(
    tmp_path: Path, obj: object
) -> None:
    record(tmp_path / "file", 1, obj, 2)
    recording = Recording(tmp_path / "file", OBJECTS)
    assert [recorded.event.obj for recorded in recording] == [1, 2]
    assert recording.end == RecordingEnd(2, 3, {type(obj).__name__: 1})
    with pytest.raises(UnrecordableError, match=r"recorded|numbers"):
        OBJECTS.pack(obj)


def test_a_file_that_was_cut_off_anywhere_is_read_to_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = record(path, 1, b"two", packet())
    counts = []
    for length in range(len(MAGIC), len(data)):
        path.write_bytes(data[:length])
        recording = Recording(path, OBJECTS)
        objects = [recorded.event.obj for recorded in recording]
        assert objects == [1, b"two", packet()][: len(objects)]
        assert recording.end is None
        counts.append(len(objects))
    assert counts == sorted(counts)
    assert counts[-1] == 3


def test_a_record_that_was_damaged_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = bytearray(record(path, 1, 2, b"payload"))
    data[data.index(b"payload")] ^= 1
    path.write_bytes(data)
    recording = Recording(path, OBJECTS)
    assert [recorded.event.obj for recorded in recording] == [1, 2]
    assert recording.end is None


def body(*fields: object) -> bytes:
    return frame(msgspec.msgpack.encode(fields))


WAY = body("way", {"scope": "s", "name": "a"}, {"scope": "s", "name": "b"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no recording"),
        (b"RIFF....WAVE", "is no recording"),
        (MAGIC + frame(b"\xc1"), "is damaged"),
        (MAGIC + body("what", 1), "is damaged"),
        (MAGIC + body("event", 0, 0, 1, "plain", None, None), "came by no way"),
        (MAGIC + WAY + body("event", 0, -1, 1, "plain", None, None), "is damaged"),
        (MAGIC + WAY + body("event", 0, 0, 1, "pickle", b"", None), "'pickle': not known"),
        (MAGIC + WAY + body("event", 0, 0, 1, "rtp", [b"short", None], None), "that is none"),
        (MAGIC + WAY + body("event", 0, 0, 1, "array", ["O", [1], bytes(8)], None), "no type"),
        (MAGIC + WAY + body("event", 0, 0, 1, "array", ["<i2", [9], b""], None), "that is none"),
        (MAGIC + WAY + body("event", 0, 0, 1, "sound", [b"odd", 8000, 0], None), "that is none"),
        (MAGIC + WAY * 5000, "more than 4096 ways"),
    ],
)
def test_a_hostile_file_is_a_clear_error(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(RecordingError, match=words):
        read(tmp_path / "file")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        read(tmp_path / "file")


@given(st.binary(max_size=200), st.sampled_from(["raw", "framed", "object"]))
def test_whatever_stands_in_a_file_raises_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, where: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk"
    framed = {
        "raw": junk,
        "framed": frame(junk),
        "object": WAY + frame(b"\x97\xa5event\x00\x00\x01\xa7picture" + junk + b"\xc0"),
    }[where]
    path.write_bytes(MAGIC + framed)
    with suppress(RecordingError):
        read(path)


def test_a_codec_knows_each_type_once() -> None:
    codec = ObjectCodec()
    codec.add_struct("key", KeyPress)
    with pytest.raises(ValueError, match="already"):
        codec.add_struct("key", LevelChange)
    with pytest.raises(ValueError, match="already"):
        codec.add_struct("press", KeyPress)


def test_a_length_that_is_too_large_reads_no_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(
        MAGIC + b"\xff\xff\xff\xff" + zlib.crc32(b"").to_bytes(4, "big")
    )
    assert read(tmp_path / "file") == []
