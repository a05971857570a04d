"""What a WAV file holds, and how it sounds: its main frequency and its level."""

import math
import wave
from pathlib import Path

import numpy as np

from rtp.media import FULL_SCALE, Samples


def read_wav(path: Path) -> tuple[Samples, int]:
    """The samples of a mono file of 16 bits, and its sample rate in Hz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        data = file.readframes(file.getnframes())
        assert len(data) == 2 * file.getnframes()  # the header promises no more than there is
        return np.frombuffer(data, "<i2"), file.getframerate()


def main_frequency(samples: Samples, sample_rate: int) -> float:
    """Hz, where the spectrum has its peak."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * sample_rate / len(samples))


def rms(samples: Samples) -> float:
    """dBFS; a sine of full scale has -3.01."""
    return 10 * math.log10(float(np.mean(samples.astype(float) ** 2))) - 20 * math.log10(FULL_SCALE)
