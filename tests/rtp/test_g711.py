"""G.711 against ffmpeg's own codec, which is linked into PyAV: no program is run."""

from collections.abc import Callable
from typing import cast

import av
import numpy as np
import pytest

from rtp.audio import g711
from rtp.audio.g711 import Samples

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


def decode_with_ffmpeg(name: str, payload: bytes) -> Samples:
    codec = cast(av.AudioCodecContext, av.CodecContext.create(name, "r"))
    codec.sample_rate = 8000
    codec.layout = "mono"
    frames = codec.decode(av.Packet(payload))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.int16)


def encode_with_ffmpeg(name: str, samples: Samples) -> bytes:
    codec = cast(av.AudioCodecContext, av.CodecContext.create(name, "w"))
    codec.sample_rate = 8000
    codec.layout = "mono"
    codec.format = av.AudioFormat("s16")
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


@pytest.mark.parametrize(
    ("name", "decode"), [("pcm_mulaw", g711.decode_pcmu), ("pcm_alaw", g711.decode_pcma)]
)
def test_every_code_decodes_as_in_ffmpeg(name: str, decode: Callable[[bytes], Samples]) -> None:
    np.testing.assert_array_equal(decode(ALL_CODES), decode_with_ffmpeg(name, ALL_CODES))


@pytest.mark.parametrize(
    ("name", "encode"), [("pcm_mulaw", g711.encode_pcmu), ("pcm_alaw", g711.encode_pcma)]
)
def test_every_sample_encodes_as_in_ffmpeg(name: str, encode: Callable[[Samples], bytes]) -> None:
    assert encode(ALL_SAMPLES) == encode_with_ffmpeg(name, ALL_SAMPLES)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [(g711.encode_pcmu, g711.decode_pcmu), (g711.encode_pcma, g711.decode_pcma)],
)
def test_every_sample_becomes_the_nearest_level(
    encode: Callable[[Samples], bytes], decode: Callable[[bytes], Samples]
) -> None:
    levels = np.sort(decode(ALL_CODES).astype(np.int32))
    above = np.clip(np.searchsorted(levels, ALL_SAMPLES), 1, 255)
    least = np.minimum(np.abs(levels[above] - ALL_SAMPLES), np.abs(levels[above - 1] - ALL_SAMPLES))
    error = np.abs(decode(encode(ALL_SAMPLES)).astype(np.int32) - ALL_SAMPLES)
    # The standard is defined on 14 bits: the two lowest of the 16 may tip the balance.
    assert (error - least).max() <= 6


@pytest.mark.parametrize(
    ("encode", "decode"),
    [(g711.encode_pcmu, g711.decode_pcmu), (g711.encode_pcma, g711.decode_pcma)],
)
def test_second_generation_loses_nothing(
    encode: Callable[[Samples], bytes], decode: Callable[[bytes], Samples]
) -> None:
    once = decode(encode(ALL_SAMPLES))
    np.testing.assert_array_equal(decode(encode(once)), once)


def test_part_of_an_array_encodes_like_the_whole() -> None:
    assert g711.encode_pcmu(ALL_SAMPLES[::2]) == g711.encode_pcmu(ALL_SAMPLES)[::2]


@pytest.mark.parametrize("samples", [np.zeros(4, np.float32), np.zeros((2, 2), np.int16)])
def test_samples_of_another_shape_or_type_are_refused(samples: Samples) -> None:
    with pytest.raises(ValueError, match="flat array of int16"):
        g711.encode_pcma(samples)
