"""Tones to speak with, and what is in the sound that was heard."""

import wave
from pathlib import Path
from typing import Final

import numpy as np

from rtp.media import FULL_SCALE, Samples

RATE: Final = 48000
"""Hz, of all files."""
AMPLITUDE: Final = 0.25
"""Of full scale; three of them do not clip."""
SENT: Final = -12.04
"""Level of such a tone, in decibels; 0 is a sine of full scale."""


def write_tone(path: Path, frequency: int) -> Path:
    """A minute of a sine. A browser plays it in a loop, and there is a seam where that closes."""
    angle = 2 * np.pi * frequency / RATE * np.arange(60 * RATE)
    samples = np.rint(AMPLITUDE * FULL_SCALE * np.sin(angle)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def levels(
    samples: Samples, sample_rate: int, frequencies: list[int], *, within: float = 30.0
) -> dict[int, float]:
    """How loud each tone is, in decibels relative to a sine of full scale.

    Args:
        samples: at least half a second.
        within: Hz around each tone that count for it; where a packet was left out the phase
            jumps, and what would be a line is a hill.
    """
    window = np.hanning(len(samples))
    power = np.abs(np.fft.rfft(samples * window)) ** 2
    full_scale = FULL_SCALE**2 / 4 * len(samples) * (window**2).sum()
    hertz = np.fft.rfftfreq(len(samples), 1 / sample_rate)
    return {
        frequency: float(
            10 * np.log10(power[np.abs(hertz - frequency) <= within].sum() / full_scale + 1e-12)
        )
        for frequency in frequencies
    }
