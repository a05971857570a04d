"""What Opus packets say of themselves."""

import pytest

from rtp.recording.opus_packet import SILENCE, opus_samples


@pytest.mark.parametrize(
    ("payload", "samples"),
    [
        (SILENCE, 960),
        (b"\x78\0", 960),  # hybrid, 20 ms
        (b"\x18\0", 2880),  # SILK, 60 ms
        (b"\x80\0", 120),  # CELT, 2.5 ms
        (b"\xf9\0", 1920),  # two frames
        (b"\xfb\x03\0", 2880),  # three
        (b"\x1b\x02\0", 5760),  # 120 ms
        (b"\x1b\x03\0", None),  # 180 ms
        (b"\xfb", None),
        (b"\xfb\0", None),
        (b"", None),
    ],
)
def test_opus_packets_tell_how_long_they_last(payload: bytes, samples: int | None) -> None:
    assert opus_samples(payload) == samples
