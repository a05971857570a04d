"""FrameEncoder: the sound of one source becomes payloads with their times. Without I/O."""

from collections.abc import Sequence

import msgspec

from ..audio_level import level_octet
from ..media import AudioFrame
from ..payload_format import PayloadFormat
from .codecs import make_encoder
from .loudness import level_of


class EncodedSound(msgspec.Struct, frozen=True):
    """What goes into one packet.

    Attributes:
        timestamp: of its first sample, in clock ticks from where the frames' timestamps are 0.
        duration: clock ticks.
        level_octet: of the frame that it was complete with; see `rtp.audio_level`.
    """

    payload: bytes
    timestamp: int
    duration: int
    level_octet: int


class FrameEncoder:
    """Encodes frames of one sample rate, which may have any length.

    Attributes:
        heavy: whether it belongs into a worker thread.
        encoded: frames so far.
    """

    __slots__ = ("_encoder", "_expected", "_next", "_sample_rate", "_wanted", "encoded", "heavy")

    def __init__(self, wanted: PayloadFormat, sample_rate: int) -> None:
        """
        Args:
            wanted: PCMU, PCMA, opus or G722.
            sample_rate: of the frames, Hz.
        Raises:
            ValueError: another encoding.
        """
        self._encoder = make_encoder(wanted, sample_rate)
        self._wanted = wanted
        self._sample_rate = sample_rate
        self._expected: int | None = None  # timestamp of the next frame, if none is missing
        self._next = 0  # timestamp of the next payload, in clock ticks
        self.heavy = self._encoder.heavy
        self.encoded = 0

    def encode(self, frames: Sequence[AudioFrame]) -> list[list[EncodedSound]]:
        """The payloads that are full with each of these frames; the rest waits for the next."""
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: AudioFrame) -> list[EncodedSound]:
        self.encoded += 1
        if frame.timestamp != self._expected:
            # Less than a packet of what was before the gap may be left, and is sent after it.
            ticks = frame.timestamp * self._wanted.clock_rate // self._sample_rate
            self._next = max(self._next, ticks)
        self._expected = frame.timestamp + len(frame.samples)
        octet = level_octet(level_of(frame.samples))
        duration = self._encoder.packet_ticks
        sounds = []
        for payload in self._encoder.encode(frame.samples):
            sounds.append(EncodedSound(payload, self._next, duration, octet))
            self._next += duration
        return sounds
