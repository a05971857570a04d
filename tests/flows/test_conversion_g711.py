"""G.711: FFmpeg's tables against the formulas of ITU-T G.711, and against the ffmpeg program."""

import subprocess

import numpy as np
import pytest

from eventgraph.flows.conversion import g711
from eventgraph.flows.conversion.sound import Law

ALL_CODES = memoryview(bytes(range(256)))
ALL_SAMPLES = np.arange(-32768, 32768).astype("<i2")
LAWS: tuple[Law, ...] = ("mulaw", "alaw")

laws = pytest.mark.parametrize("law", LAWS)


def expanded(
    law: Law, data: memoryview = ALL_CODES
) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.frombuffer(g711.expand(law, data), "<i2")


def itu_mulaw(code: int) -> int:
    """Tables 2a and 2b: 14 bits, which are the upper ones of 16."""
    code ^= 0xFF
    magnitude = ((2 * (code & 15) + 33) << (code >> 4 & 7)) - 33
    return 4 * (-magnitude if code & 0x80 else magnitude)


def itu_alaw(code: int) -> int:
    """Tables 1a and 1b: 13 bits, which are the upper ones of 16."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << segment - 1
    return 8 * (magnitude if code & 0x80 else -magnitude)


@laws
def test_every_code_has_the_level_of_the_standard(law: Law) -> None:
    itu = {"mulaw": itu_mulaw, "alaw": itu_alaw}[law]
    assert expanded(law).tolist() == [itu(code) for code in range(256)]


@pytest.mark.parametrize(
    ("law", "code", "sample"),
    [
        *(
            ("mulaw", 0x00, -32124),
            ("mulaw", 0x80, 32124),
            ("mulaw", 0xFF, 0),
            ("mulaw", 0xEF, 132),
        ),
        *(("alaw", 0x2A, -32256), ("alaw", 0xAA, 32256), ("alaw", 0xD5, 8), ("alaw", 0x55, -8)),
    ],
)
def test_known_codes(law: Law, code: int, sample: int) -> None:
    assert expanded(law)[code] == sample
    assert g711.compress(law, np.array([sample], "<i2").data)[0] == code


@laws
def test_every_sample_becomes_the_nearest_level(law: Law) -> None:
    levels = np.sort(expanded(law).astype(int))
    above = np.clip(np.searchsorted(levels, ALL_SAMPLES), 1, 255)
    least = np.minimum(np.abs(levels[above] - ALL_SAMPLES), np.abs(levels[above - 1] - ALL_SAMPLES))
    coded = g711.compress(law, ALL_SAMPLES.data)
    error = np.abs(expanded(law, coded).astype(int) - ALL_SAMPLES)
    # The standard is defined on 14 bits: the two lowest of the 16 may tip the balance.
    assert (error - least).max() <= 6


@laws
def test_second_generation_loses_nothing(law: Law) -> None:
    once = g711.expand(law, g711.compress(law, ALL_SAMPLES.data))
    assert g711.expand(law, g711.compress(law, once)) == once


@pytest.mark.interop("ffmpeg")
@laws
def test_agrees_with_ffmpeg(law: Law) -> None:
    def ffmpeg(source: str, target: str, data: bytes) -> bytes:
        sound = ("-ar", "8000", "-ac", "1")
        command = ("ffmpeg", "-nostdin", "-loglevel", "error", "-f", source, *sound, "-i", "pipe:0")
        encoded = (*command, "-f", target, *sound, "pipe:1")
        return subprocess.run(
            encoded, input=data, capture_output=True, timeout=60, check=True
        ).stdout

    assert ffmpeg(law, "s16le", bytes(ALL_CODES)) == expanded(law).tobytes()
    assert ffmpeg("s16le", law, ALL_SAMPLES.tobytes()) == g711.compress(law, ALL_SAMPLES.data)
