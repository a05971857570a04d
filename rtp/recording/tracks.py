"""The two tracks of a recording: what was placed becomes units of a container, without seams.

Everything here runs codecs: it belongs into a worker thread, one call at a time.
"""

from collections import Counter
from fractions import Fraction
from typing import Final

import av
import numpy as np

from ..audio.resampling import Resampler
from ..audio.sample_queue import SampleQueue
from .opus_packet import OPUS_RATE, SILENCE, SILENCE_SAMPLES
from .recorded import PICTURE_RATE, EncodedPicture, OpusSound, PcmSound, RawPicture, Unit

FRAME_SAMPLES: Final = SILENCE_SAMPLES
"""Samples in the packets that are encoded here: 20 ms."""
SEAM: Final = 240
"""Samples, 5 ms, by which a place may differ from the end of the last: rounding, and resamplers."""
MAX_SILENCE: Final = 600 * OPUS_RATE
"""Samples of a gap that are filled with silence; of a longer one the rest is left out of the
timestamps' way, as containers can."""
KEY_INTERVAL: Final = 2 * PICTURE_RATE
"""Ticks between key frames: so far apart are the points to which players can jump."""
_TICKS_PER_MS: Final = PICTURE_RATE // 1000


class SoundTrack:
    """Sound as packets of Opus, one after the other; where there is none, silence.

    Attributes:
        end: place after the last, in samples at 48 kHz; of what waits to be encoded too.
        drops: by reason: "late".
    """

    def __init__(self, bit_rate: int) -> None:
        """
        Args:
            bit_rate: bits a second, of what is encoded here.
        """
        self.end = 0
        self.drops: Counter[str] = Counter()
        self._bit_rate = bit_rate
        self._codec: av.AudioCodecContext | None = None
        self._resampler = Resampler(OPUS_RATE, OPUS_RATE)
        self._queue = SampleQueue()  # less than a packet, between calls

    def take(self, sound: OpusSound | PcmSound) -> list[Unit]:
        """The packets that are full now."""
        return self._put(sound) if isinstance(sound, OpusSound) else self._encode(sound)

    def fill_until(self, place: int) -> list[Unit]:
        """Silence up to there, to within a packet."""
        gap = place - self.end
        units: list[Unit] = []
        if gap < FRAME_SAMPLES:
            return units
        units += self.flush()
        count = min(place - self.end, MAX_SILENCE) // SILENCE_SAMPLES
        for _ in range(count):
            units.append(self._unit(SILENCE, SILENCE_SAMPLES))
        if gap > MAX_SILENCE:
            self.end = place
        return units

    def flush(self) -> list[Unit]:
        """What waits for a packet to be full, made full with silence."""
        if not len(self._queue):
            return []
        missing = FRAME_SAMPLES - len(self._queue)
        self._queue.put(np.zeros(missing, np.int16))
        self.end += missing
        return self._encode_queue()

    def _put(self, sound: OpusSound) -> list[Unit]:
        units = self.flush()
        units += self.fill_until(sound.place)
        if sound.place < self.end - sound.samples // 2 - FRAME_SAMPLES:
            self.drops["late"] += 1
            return units
        self.end = max(self.end, sound.place)
        units.append(self._unit(sound.data, sound.samples))
        return units

    def _encode(self, sound: PcmSound) -> list[Unit]:
        if sound.sample_rate != self._resampler.from_rate:
            self._resampler = Resampler(sound.sample_rate, OPUS_RATE)
        samples = self._resampler.resample(sound.samples)
        gap = sound.place - self.end
        units: list[Unit] = []
        if gap > SEAM:
            units += self.fill_until(sound.place)
            rest = np.zeros(max(0, sound.place - self.end), np.int16)
            self._queue.put(rest)
            self.end += len(rest)
        elif gap < -SEAM:
            samples = samples[-gap:]
            if not len(samples):
                self.drops["late"] += 1
        self._queue.put(samples)
        self.end += len(samples)
        return units + self._encode_queue()

    def _encode_queue(self) -> list[Unit]:
        queue = self._queue
        codec = self._codec or self._open()
        units = []
        while len(queue) >= FRAME_SAMPLES:
            place = self.end - len(queue)
            row = np.ascontiguousarray(queue.take(FRAME_SAMPLES)).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(row, format="s16", layout="mono")
            frame.sample_rate = OPUS_RATE
            for packet in codec.encode(frame):
                units.append(Unit(True, place, FRAME_SAMPLES, bytes(packet), True))
        return units

    def _open(self) -> av.AudioCodecContext:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.format = av.AudioFormat("s16")
        codec.layout = av.AudioLayout("mono")
        codec.sample_rate = OPUS_RATE
        codec.bit_rate = self._bit_rate
        self._codec = codec
        return codec

    def _unit(self, data: bytes, samples: int) -> Unit:
        unit = Unit(True, self.end, samples, data, True)
        self.end += samples
        return unit


class PictureTrack:
    """Pictures as frames of one encoding, in order.

    Attributes:
        size: width and height in pixels, of the first picture; None before it.
        drops: by reason: "undecodable", "unencodable".
        needs_key: a frame was left out, so those that need it must be too.
    """

    def __init__(self, encoding: str, bit_rate: int | None) -> None:
        """
        Args:
            encoding: "VP8" or "H264".
            bit_rate: bits a second, of what is encoded here; None: by the size of the picture.
        """
        self.size: tuple[int, int] | None = None
        self.drops: Counter[str] = Counter()
        self.needs_key = False
        self._encoding = encoding
        self._bit_rate = bit_rate
        self._codec: av.VideoCodecContext | None = None
        self._last: int | None = None
        self._next_key = 0

    def take(self, picture: EncodedPicture | RawPicture) -> list[Unit]:
        """The frame, if it can be recorded."""
        place = picture.place
        if self._last is not None:  # two frames must differ in milliseconds, WebM's unit
            place = max(place, self._last + _TICKS_PER_MS)
        unit: Unit | None
        if isinstance(picture, EncodedPicture):
            unit = self._forward(picture, place)
        else:
            unit = self._encode(picture.frame, place)
        if unit is None:
            return []
        self._last = place
        return [unit]

    def _forward(self, picture: EncodedPicture, place: int) -> Unit | None:
        if self.needs_key and not picture.key:
            return None
        self._codec = None  # of frames encoded here the next one will be a key frame
        if self.size is None:
            self.size = decoded_size(self._encoding, picture.data)
            if self.size is None:
                self.drops["undecodable"] += 1
                self.needs_key = True
                return None
        self.needs_key = False
        return Unit(False, place, 0, picture.data, picture.key)

    def _encode(self, frame: av.VideoFrame, place: int) -> Unit | None:
        if self.size is None:
            self.size = frame.width // 2 * 2 or 2, frame.height // 2 * 2 or 2
        try:
            image = _image(frame, *self.size)
            image.pts = place
            image.time_base = Fraction(1, PICTURE_RATE)
            codec = self._codec
            if codec is None:
                codec = self._codec = self._open(*self.size)
                self._next_key = place
            if place >= self._next_key:
                image.pict_type = av.video.frame.PictureType.I
                self._next_key = place + KEY_INTERVAL
            packets = codec.encode(image)
        except (av.FFmpegError, ValueError):
            self.drops["unencodable"] += 1
            self._codec = None
            return None
        data = b"".join(map(bytes, packets))
        key = any(packet.is_keyframe for packet in packets)
        return Unit(False, place, 0, data, key) if data else None

    def _open(self, width: int, height: int) -> av.VideoCodecContext:
        codec = av.CodecContext.create("libvpx" if self._encoding == "VP8" else "libx264", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width = width
        codec.height = height
        codec.pix_fmt = "yuv420p"
        codec.time_base = Fraction(1, PICTURE_RATE)
        codec.thread_count = 1  # the pool of threads is for all recorders
        codec.gop_size = 3000  # we say when
        if self._encoding == "VP8":
            codec.bit_rate = self._bit_rate or max(200_000, 4 * width * height)
            codec.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0"}
        else:
            codec.options = {"preset": "veryfast", "tune": "zerolatency"}
            if self._bit_rate is not None:
                codec.bit_rate = self._bit_rate
        return codec


def decoded_size(encoding: str, key_frame: bytes) -> tuple[int, int] | None:
    """Width and height of a key frame in pixels, by decoding it; None: it cannot be."""
    decoder = av.CodecContext.create("vp8" if encoding == "VP8" else "h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(8192 * 8192)}
    try:
        frames = [*decoder.decode(av.Packet(key_frame)), *decoder.decode(None)]
    except av.FFmpegError:
        return None
    return (frames[0].width, frames[0].height) if frames else None


def _image(frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """A picture of one's own: encoders write into it, and others may have the same one."""
    image = frame.reformat(width, height, "yuv420p")
    if image is not frame:
        return image
    return av.VideoFrame.from_ndarray(frame.to_ndarray(), "yuv420p")
