"""A picture that moves, and how well it came through."""

from fractions import Fraction

import av
import numpy as np

from eventgraph import Event
from rtp.webrtc import VIDEO

TICKS = 3000
"""Of 90 kHz, from a picture to the next."""


def pattern(number: int, width: int = 320, height: int = 240) -> av.VideoFrame:
    """Soft waves that wander; every number looks different."""
    x = np.arange(width) / width * 2 * np.pi
    y = np.arange(height) / height * 2 * np.pi
    luma = 128 + 50 * np.sin(2 * x + number / 5)[None, :] + 50 * np.cos(3 * y - number / 7)[:, None]
    chroma = np.full((height // 2, width), 128)
    planes = np.vstack([luma, chroma]).astype(np.uint8)
    image = av.VideoFrame.from_ndarray(planes, "yuv420p")
    image.pts = number * TICKS
    image.time_base = Fraction(1, 90000)
    return image


def patterns(*numbers: int, width: int = 320, height: int = 240) -> list[Event]:
    return [Event(VIDEO, pattern(number, width, height)) for number in numbers]


def psnr(image: av.VideoFrame, original: av.VideoFrame) -> float:
    """Peak signal-to-noise ratio of the luma, in dB."""
    height = image.height
    a, b = (i.to_ndarray(format="yuv420p")[:height].astype(float) for i in (image, original))
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean((a - b) ** 2)))))
