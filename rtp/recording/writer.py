"""MediaWriter: a file of Ogg, WebM or MP4 that plays at every moment, also after a kill -9.

It is written in pieces, each handed to the kernel when it is complete (`Container`).

Sound is Opus in all of them, in MP4 too: FFmpeg, GStreamer and browsers play it there, and what
peers send needs no transcoding.

Everything here blocks: it belongs into a worker thread, one call at a time.
"""

from collections import Counter, deque
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from .container import Container
from .file import RecordingFile, UnwritableError
from .opus_packet import OPUS_RATE
from .recorded import PICTURE_RATE, Unit

FROZEN: Final = 0.6
"""Seconds without another picture after which the last is written, where durations are needed."""
LASTS: Final = 27000
"""Ticks, 0.3 s, that it is then said to last."""
HELD: Final = 0.3
"""Seconds that one stream waits for the other, so that they stand in order."""
MAX_WAITING: Final = 64_000_000
"""Octets that wait for the other stream at most."""
OPUS_DELAY: Final = 312
"""Samples at 48 kHz by which libopus lags; the head of the file says so (RFC 7845 §4.2)."""

_COMMON = {"max_interleave_delta": "1", "flush_packets": "1"}  # we put units in order ourselves
_CODECS = {"VP8": "vp8", "H264": "h264"}


class MediaWriter:
    """Writes units of one stream of sound and one of pictures.

    Nothing is written before both have begun; after `patience` seconds of media it begins with
    those that are there, and the other is left out.

    Attributes:
        seconds: in the file, up to the end of the last unit: "sound", "picture".
        drops: units, by reason: "stream is late", "not muxable", "too much waits".
        begun: whether the head of the file is settled.
    """

    def __init__(
        self, path: Path, container: Container, *, sound: bool, picture: bool, patience: float
    ) -> None:
        """
        Args:
            path: of the file; one that exists is replaced.
            sound, picture: which streams there will be.
            patience: seconds.
        Raises:
            UnwritableError: the file cannot be opened.
        """
        self.seconds = {"sound": 0.0, "picture": 0.0}
        self.drops: Counter[str] = Counter()
        self.begun = False
        self._sink = RecordingFile(path)
        self._muxer = av.open(
            self._sink,
            "w",
            format=container.name,
            container_options=container.options | _COMMON,
        )
        self._codec = _CODECS.get(container.picture_encoding or "")
        self._wanted = {True: sound, False: picture}
        self._patience = patience
        self._streams: dict[bool, av.stream.Stream] = {}
        self._waiting: dict[bool, deque[Unit]] = {True: deque(), False: deque()}
        self._octets = 0
        self._newest = 0.0  # seconds
        self._needs_durations = container.needs_durations
        self._picture: Unit | None = None  # the last one, until it is known how long it lasts
        self._decoded_until: int | None = None  # ticks; where durations count, without gaps

    @property
    def failed(self) -> bool:
        """Whether the file could not be written any more."""
        return self._sink.error is not None

    def write(self, units: list[Unit], picture_size: tuple[int, int] | None) -> None:
        """Write what is in order; a little is held back until the other stream is as far.

        Args:
            picture_size: in pixels, if pictures have come.
        Raises:
            UnwritableError: the disk is full, or something else about it.
        """
        for unit in units:
            if not self._wanted[unit.is_sound]:
                self.drops["stream is late"] += 1
                continue
            self._waiting[unit.is_sound].append(unit)
            self._octets += len(unit.data)
            self._newest = max(self._newest, unit.seconds)
        if not self.begun and self._is_time_to_begin():
            self._begin(picture_size)
        if self.begun:
            self._write_until(self._newest - HELD)
            if self._picture is not None and self._newest - self._picture.seconds > FROZEN:
                self._mux_picture(self._picture, until=self._picture.place + LASTS)
                self._picture = None

    def close(self, picture_size: tuple[int, int] | None) -> None:
        """Write what is held back, and finish the file. A second call does nothing.

        Raises:
            UnwritableError: as `write`; the file is closed all the same.
        """
        if self._sink.closed:
            return
        try:
            if not self._sink.error:
                if not self.begun and any(self._waiting.values()):
                    self._begin(picture_size)
                if self.begun:
                    self._write_until(float("inf"))
                if self._picture is not None:
                    end = max(round(self._newest * PICTURE_RATE), self._picture.place + 1)
                    self._mux_picture(self._picture, until=end)
            self._close_muxer()
        finally:
            self._sink.close()

    def _is_time_to_begin(self) -> bool:
        waiting = [queue for wanted, queue in self._waiting.items() if self._wanted[wanted]]
        if all(waiting):
            return True
        first = min((queue[0].seconds for queue in waiting if queue), default=self._newest)
        # Where sound is missing there will be silence; only pictures are worth waiting for.
        patience = HELD if self._waiting[False] else self._patience
        return self._newest - first >= patience or self._octets > MAX_WAITING

    def _begin(self, picture_size: tuple[int, int] | None) -> None:
        """Settle which streams there are."""
        self.begun = True
        self._wanted[False] = self._wanted[False] and picture_size is not None
        if self._wanted[True]:
            sound = self._muxer.add_stream("libopus", rate=OPUS_RATE, layout="mono")
            self._streams[True] = sound
        if picture_size is not None and self._wanted[False] and self._codec is not None:
            width, height = picture_size
            self._streams[False] = self._muxer.add_mux_stream(
                self._codec, width=width, height=height, time_base=Fraction(1, PICTURE_RATE)
            )

    def _write_until(self, seconds: float) -> None:
        """Write in order of time, as long as both streams have something, or it is older."""
        sound, picture = self._waiting[True], self._waiting[False]
        while sound or picture:
            if not picture or (sound and sound[0].seconds <= picture[0].seconds):
                queue, other = sound, picture
            else:
                queue, other = picture, sound
            if not other and self._wanted[other is sound] and queue[0].seconds > seconds:
                return
            unit = queue.popleft()
            self._octets -= len(unit.data)
            if unit.is_sound:
                self._mux(unit, unit.place - OPUS_DELAY, unit.place - OPUS_DELAY, unit.duration)
            elif not self._needs_durations:
                self._mux(unit, unit.place, unit.place, 0)
            else:
                if self._picture is not None:
                    self._mux_picture(self._picture, until=unit.place)
                self._picture = unit

    def _mux_picture(self, unit: Unit, *, until: int) -> None:
        """Write a picture that lasts until there.

        In MP4 the durations of fragments add up to time. So after a picture that was written
        before its duration was known, the next is decoded early, and shown when it should be.
        """
        decoded = unit.place if self._decoded_until is None else self._decoded_until
        shown = max(unit.place, decoded)
        self._decoded_until = max(until, shown + 1)
        self._mux(unit, shown, decoded, self._decoded_until - decoded)

    def _mux(self, unit: Unit, shown: int, decoded: int, duration: int) -> None:
        packet = av.Packet(unit.data)
        packet.stream = self._streams[unit.is_sound]
        packet.time_base = Fraction(1, OPUS_RATE if unit.is_sound else PICTURE_RATE)
        packet.pts = shown
        packet.dts = decoded
        packet.duration = duration
        packet.is_keyframe = unit.key
        try:
            self._muxer.mux_one(packet)
        except (av.FFmpegError, OSError):
            self._sink.check()
            self.drops["not muxable"] += 1
            return
        self._sink.check()
        rate = OPUS_RATE if unit.is_sound else PICTURE_RATE
        self.seconds["sound" if unit.is_sound else "picture"] = (unit.place + unit.duration) / rate

    def _close_muxer(self) -> None:
        failed = self._sink.error is not None
        try:
            self._muxer.close()
        except (av.FFmpegError, OSError) as error:
            self._sink.check()
            if not failed:
                raise UnwritableError(f"{self._sink.path} cannot be finished: {error}") from error
        if not failed:
            self._sink.check()
