"""Pictures in H.264, as a camera would send them."""

from fractions import Fraction

import av
import numpy as np

FRAME_RATE = 25


def film(frames: int, *, gop: int = 10, b_frames: int = 0) -> list[tuple[bytes, float, bool]]:
    """Encoded frames in the order of decoding: NAL units with start codes, seconds, key.

    Args:
        gop: frames from one key frame to the next.
        b_frames: in a row, which stand after the frames that they need.
    """
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = 160, 120, "yuv420p"
    codec.time_base = Fraction(1, FRAME_RATE)
    codec.gop_size = gop
    codec.options = {"preset": "ultrafast", "x264-params": f"bframes={b_frames}:b-adapt=0"}
    packets = []
    for i in range(frames):
        grey = np.full((180, 160), 16 + 5 * i % 200, np.uint8)
        grey[:, i : i + 20] = 200
        image = av.VideoFrame.from_ndarray(grey, "yuv420p")
        image.pts = i
        packets += codec.encode(image)
    packets += codec.encode(None)
    return [(bytes(p), float((p.pts or 0) / FRAME_RATE), p.is_keyframe) for p in packets]
