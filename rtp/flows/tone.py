"""A tone to try flows with: AUDIO of 16 bits. Pure."""

from typing import Final

import numpy as np

from eventgraph.flows import FlowFormat
from rtp.flows.errors import FlowCommandError

BLOCK_TIME: Final = 0.02  # seconds of sound in a block, as in most calls
DEFAULT: Final = "AUDIO,rate=48000,channels=1,sample=s16"
AMPLITUDE: Final = 32767 * 10 ** (-12 / 20)  # -12 dBFS: heard well, and no fright


class Tone:
    """A sine, the same in all channels; block after block without a seam."""

    def __init__(self, frequency: float, format: FlowFormat) -> None:
        """Raises: FlowCommandError: the format is none for it, or cannot hold the frequency."""
        rate, channels = format.parameters.get("rate"), format.parameters.get("channels", 1)
        sample = format.parameters.get("sample", "s16")
        if (
            format.type != "AUDIO"
            or not isinstance(rate, int)
            or not isinstance(channels, int)
            or not (50 <= rate <= 768_000 and rate % 50 == 0 and 1 <= channels <= 64)
            or sample != "s16"
        ):
            raise FlowCommandError(
                f"--tone makes sound of 16 bits, not {format}: --format {DEFAULT}, or another rate "
                "that is a multiple of 50 Hz, up to 768000, and up to 64 channels"
            )
        if not 0 < frequency < rate / 2:
            raise FlowCommandError(
                f"--tone {frequency:g}: at {rate} Hz a tone has more than 0 and less than "
                f"{rate // 2} Hz"
            )
        self._step = 2 * np.pi * frequency / rate  # radians a sample
        self._size = rate // 50
        self._channels = channels

    @property
    def block_size(self) -> int:
        """Bytes."""
        return self._size * self._channels * 2

    def block(self, number: int) -> bytes:
        """The samples of the block of that number, interleaved, s16 in the order of the machine."""
        first = number * self._size
        angles = (np.arange(first, first + self._size) * self._step) % (2 * np.pi)
        samples = np.round(np.sin(angles) * AMPLITUDE).astype(np.int16)
        return np.repeat(samples, self._channels).tobytes()
