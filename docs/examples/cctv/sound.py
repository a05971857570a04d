"""CameraSound: whatever a camera says, decoded. Everything here belongs into a worker thread."""

from collections import Counter
from typing import Final

import av
import numpy as np

from rtp.media import AudioFrame

SEAM: Final = 0.1
"""Seconds by which timestamps may be off before sound counts as missing: RTCP corrects them."""


class CameraSound:
    """The sound of one connection to a camera, as PCM of one channel.

    Attributes:
        drops: frames, by reason: "undecodable", "no timestamp".
    """

    def __init__(self, drops: Counter[str]) -> None:
        """
        Args:
            drops: where they are counted.
        """
        self.drops = drops
        self._resampler: av.AudioResampler | None = None
        self._rate = 0
        self._next: int | None = None  # timestamp of the next frame, if none is missing

    def frames(self, packet: "av.Packet[av.AudioStream]") -> list[AudioFrame]:
        """The sound in a packet; nothing that comes raises."""
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            self.drops["undecodable"] += 1
            return []
        frames: list[AudioFrame] = []
        for frame in decoded:
            try:
                pieces = self._mono(frame)
            except (av.FFmpegError, ValueError):
                self.drops["undecodable"] += 1
                continue
            for piece in pieces:
                samples = np.ascontiguousarray(piece.to_ndarray().reshape(-1), np.int16)
                frames.append(AudioFrame(samples, self._rate, self._place(frame, len(samples))))
        return frames

    def _mono(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        if self._resampler is None or frame.sample_rate != self._rate:
            self._rate = frame.sample_rate
            self._resampler = av.AudioResampler("s16", "mono", self._rate)
            self._next = None
        return self._resampler.resample(frame)

    def _place(self, frame: av.AudioFrame, length: int) -> int:
        """The timestamp of the next samples; ahead of the last where some are missing."""
        place = self._next or 0
        if frame.pts is not None and frame.time_base is not None:
            told = round(float(frame.pts * frame.time_base) * self._rate)
            if self._next is None or abs(told - place) > SEAM * self._rate:
                place = told
        self._next = place + length
        return place
