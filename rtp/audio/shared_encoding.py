"""SharedEncoding: many listeners of one mix, and one encoder.

Encoders of Opus and G.722 have a memory, so listeners of one mix can share a payload only if
they share the encoder that made it, and those before it:

    plain sum  --frame n--> SharedEncoding of opus --> payload n --> AudioEncoder of listener 1
                                                                 --> AudioEncoder of listener 2
    own mix of a speaker  --------------------------> AudioEncoder of the speaker, with an
                                                      encoder of its own

Who goes from the one to the other hears the other encoder's next payload, and its decoder takes
it with the memory that the first one has left. The step is small where both have been encoding
much the same sound; so an encoder that begins, or has not been asked for a while, is first given
the last `WARM_UP` frames, and a party counts as a speaker for a while after it was heard.
"""

from collections import deque
from typing import Final

import trio

from ..codec_pool import codec_pool
from ..media import AudioFrame
from ..payload_format import PayloadFormat
from .frame_encoder import EncodedSound, FrameEncoder

WARM_UP: Final = 20
"""Frames before the first one that counts, 2 ms of encoding. libopus takes 0.4 s to find out
whether it hears speech or music, and until then uses another of its modes: with fewer frames a
tone clicked at -4 dB beside itself, with these at -40."""
HISTORY: Final = 16
"""Frames whose payloads are kept for who asks late: 0.3 s. Who is later has its channel full."""


class SharedEncoding:
    """One encoder of one format, for all who hear the same frames.

    Attributes:
        encoded: frames so far, those of warming up included.
        missed: times that somebody asked for what was no longer, or never, encoded.
    """

    def __init__(self, wanted: PayloadFormat, recent: deque[AudioFrame]) -> None:
        """
        Args:
            wanted: PCMU, PCMA, opus or G722.
            recent: the last frames of the mix, kept by whoever makes them.
        """
        self.encoded = 0
        self.missed = 0
        self._wanted = wanted
        self._recent = recent
        self._encoder: FrameEncoder | None = None
        self._expected = -1  # timestamp of the frame after the last one that was encoded
        self._history: dict[int, list[EncodedSound]] = {}  # by timestamp of the frame, in order
        self._busy: trio.Event | None = None  # set when the encoder is free again

    async def encode(self, frame: AudioFrame) -> list[EncodedSound]:
        """The payloads that are full with this frame; [] too for one that is long past."""
        while True:
            known = self._history.get(frame.timestamp)
            if known is not None:
                return known
            if frame.timestamp < self._expected:
                self.missed += 1
                return []
            if self._busy is None:
                return await self._encode(frame)
            await self._busy.wait()

    async def _encode(self, frame: AudioFrame) -> list[EncodedSound]:
        free = self._busy = trio.Event()
        try:
            frames = self._frames_up_to(frame)
            if self._encoder is None or frames[0].timestamp != self._expected:
                self._encoder = FrameEncoder(self._wanted, frame.sample_rate)
                frames = [f for f in self._recent if f.timestamp < frame.timestamp][-WARM_UP:]
                frames.append(frame)
                self._history.clear()
            encode = self._encoder.encode
            if self._encoder.heavy:
                payloads = await trio.to_thread.run_sync(encode, frames, limiter=codec_pool())
            else:
                payloads = encode(frames)
        except BaseException:
            self._encoder = None  # it may have been given a part of them
            raise
        finally:
            self._busy = None
            free.set()
        self.encoded += len(frames)
        self._expected = frame.timestamp + len(frame.samples)
        for made, sounds in zip(frames, payloads, strict=True):
            self._history[made.timestamp] = sounds
            if len(self._history) > HISTORY:
                del self._history[next(iter(self._history))]
        return payloads[-1]

    def _frames_up_to(self, frame: AudioFrame) -> list[AudioFrame]:
        """It, behind those that nobody has asked for since the last one, for the sake of order."""
        skipped = [f for f in self._recent if self._expected <= f.timestamp < frame.timestamp]
        return [*skipped, frame]


class SharedMix:
    """The frames of one mix, and their encodings, one of each format that is asked for."""

    def __init__(self) -> None:
        self._recent: deque[AudioFrame] = deque(maxlen=WARM_UP + HISTORY)
        self._encodings: dict[tuple[str, int], SharedEncoding] = {}

    @property
    def encodings(self) -> list[SharedEncoding]:
        """Those that were asked for."""
        return list(self._encodings.values())

    def note(self, frame: AudioFrame) -> None:
        """The next frame of the mix, whether or not anybody hears it."""
        self._recent.append(frame)

    def forget(self) -> None:
        """Let go of the encoders now: frames know us, so the garbage collector would have to."""
        self._recent.clear()
        self._encodings.clear()

    def encoding(self, wanted: PayloadFormat) -> SharedEncoding:
        """The one of a format; there are as many as there are codecs.

        Raises:
            ValueError: there is no encoder for it.
        """
        key = wanted.name.upper(), wanted.clock_rate
        encoding = self._encodings.get(key)
        if encoding is None:
            encoding = self._encodings[key] = SharedEncoding(wanted, self._recent)
        return encoding
