"""Recorder: sound and pictures become a file."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import av
import msgspec
import trio

from eventgraph import Event, Node, NodeDelegate

from ..codec_pool import codec_pool
from ..media import END, KEYFRAME_REQUEST, PCM, RTP, VIDEO, AudioFrame, EndOfStream
from ..packet import RtpPacket
from ..payload_format import GRAPH_FORMATS, PayloadFormat
from ..recording.clock import RecordingClock
from ..recording.container import container_of
from ..recording.inputs import PictureInput, SoundInput
from ..recording.recorded import EncodedPicture, OpusSound, PcmSound, RawPicture, Recorded, Unit
from ..recording.tracks import PictureTrack, SoundTrack
from ..recording.writer import MediaWriter

GATHERED: Final = 0.1
"""Seconds of events that go to the threads in one go."""
GATHERED_FRAMES: Final = 4
"""Pictures that are not encoded, at most: they are large."""
SILENT_AFTER: Final = 48000
"""Samples, 1 s, that pictures may be ahead before silence is recorded."""


class RecorderStatistics(msgspec.Struct, frozen=True):
    """What has been recorded.

    Attributes:
        sound_seconds, picture_seconds: place in the file of the end of what was written.
        drops: of packets, frames and units, by reason.
        lost_packets: of pictures, that never came.
    """

    sound_seconds: float
    picture_seconds: float
    drops: dict[str, int]
    lost_packets: int


class Recorder(Node):
    """Writes sound and pictures, in sync, to Ogg, WebM or MP4: by the suffix of the file.

    It takes what comes: PCM and VIDEO are encoded, RTP of Opus, VP8 (WebM) and H.264 (MP4) goes
    into the file as it is. One source of sound and one of pictures at a time; another of a kind
    takes over when the first is over. Sound and pictures are aligned by their arrival, sound that
    is missing is silence, and pictures stand still where there are none.

    The file plays at every moment: a kill -9 loses about the last second. Codecs and the disk run
    in threads; if they are slower than what comes, the channel fills, and refusals are counted on
    the link. A disk that is full crashes the node, and what was written before still plays.

    With large pictures that are not encoded lower `channel_size`: each waits there as it is.

    After loss pictures go on with a key frame. The node broadcasts KEYFRAME_REQUEST for one: link
    it to the source with `link_forwarding`.
    """

    channel_size = 512  # a key frame is some hundred packets at once

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        path: str | Path,
        sound: bool = True,
        picture: bool | None = None,
        patience: float = 5.0,
        sound_bit_rate: int = 64000,
        picture_bit_rate: int | None = None,
        formats: Mapping[int, PayloadFormat] = GRAPH_FORMATS,
    ) -> None:
        """
        Args:
            path: of the file; .ogg or .opus, .webm or .mp4. One that exists is replaced.
            sound: whether there will be sound.
            picture: whether there will be pictures; None: if the container can hold them.
            patience: seconds of sound that are kept in memory until the first picture comes;
                if it does not, there is only sound in the file.
            sound_bit_rate: bits a second of sound that is encoded here.
            picture_bit_rate: likewise of pictures; None: by their size.
            formats: what payload types of RTP mean.
        Raises:
            ValueError: an option is out of range; there is no container of that suffix.
        """
        path = Path(path)
        container = container_of(path)
        encoding = container.picture_encoding
        if picture is None:
            picture = encoding is not None
        if picture and encoding is None:
            raise ValueError(f"{path} holds only sound: choose .webm or .mp4, or picture=False")
        if not (sound or picture):
            raise ValueError("sound and picture are both False: there is nothing to record")
        if not patience >= 0:
            raise ValueError(f"patience is {patience} s: it must not be negative")
        if not 6000 <= sound_bit_rate <= 510_000:
            raise ValueError(f"sound_bit_rate is {sound_bit_rate}: choose 6000 to 510000")
        if picture_bit_rate is not None and picture_bit_rate < 1000:
            raise ValueError(f"picture_bit_rate is {picture_bit_rate}: give at least 1000")
        super().__init__(scope, name)
        self.path = path
        self._container = container
        self._patience = patience
        self._formats = dict(formats)
        self._drops: Counter[str] = Counter()
        clock = RecordingClock()
        self._sound = SoundInput(clock) if sound else None
        self._picture: PictureInput | None = None
        if picture and encoding is not None:
            kept = {n: encoding for n, f in formats.items() if f.name.upper() == encoding}
            self._picture = PictureInput(clock, kept)
        self._sound_track = SoundTrack(sound_bit_rate)
        self._picture_track = PictureTrack(encoding or "VP8", picture_bit_rate)
        self._writer: MediaWriter | None = None
        self._gathered: list[Recorded] = []
        self._gathered_frames = 0
        self._gathered_since = 0.0

    def statistics(self) -> RecorderStatistics:
        """What has been recorded so far."""
        writer = self._writer
        drops = self._drops + self._sound_track.drops + self._picture_track.drops
        for part in (self._sound, self._picture, writer):
            drops += part.drops if part is not None else Counter()
        return RecorderStatistics(
            writer.seconds["sound"] if writer else 0.0,
            writer.seconds["picture"] if writer else 0.0,
            dict(drops),
            self._picture.lost_packets if self._picture else 0,
        )

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._writer = await trio.to_thread.run_sync(self._open)

    async def on_event(self, event: Event) -> None:
        now = trio.current_time()
        if not self._gathered:
            self._gathered_since = now
        if event.cmd == RTP:
            self._take_packet(event.obj, now)
        elif event.cmd == PCM:
            self._take_sound(event.obj, now)
        elif event.cmd == VIDEO:
            self._take_picture(event.obj, now)
        elif event.cmd == END:
            self._take_end(event.obj)
        if (
            now - self._gathered_since >= GATHERED and self._gathered
        ) or self._gathered_frames >= GATHERED_FRAMES:
            await self._record()

    async def on_exit(self) -> None:
        if self._writer is None:
            return
        try:
            if not self._writer.failed:
                if self._sound is not None:
                    self._gathered += self._sound.flush()
                if self._picture is not None:
                    self._gathered += self._picture.flush()
                await self._record(last=True)
        finally:
            await trio.to_thread.run_sync(self._writer.close, self._picture_track.size)

    def _take_packet(self, packet: object, now: float) -> None:
        if not isinstance(packet, RtpPacket):
            self._drops["wrong type"] += 1
            return
        payload_format = self._formats.get(packet.payload_type)
        name = payload_format.name.upper() if payload_format else ""
        if name == "OPUS" and self._sound is not None:
            self._gathered += self._sound.put_packet(packet, now)
        elif self._picture is not None and name == self._container.picture_encoding:
            self._gathered += self._picture.put_packet(packet, now)
            if self._picture.wants_key_frame(now):
                self._delegate.broadcast(Event(KEYFRAME_REQUEST))
        else:
            self._drops["not of this file" if name else "unknown payload type"] += 1

    def _take_sound(self, frame: object, now: float) -> None:
        if not isinstance(frame, AudioFrame):
            self._drops["wrong type"] += 1
        elif self._sound is None:
            self._drops["not of this file"] += 1
        else:
            self._gathered += self._sound.put_frame(frame, now)

    def _take_picture(self, frame: object, now: float) -> None:
        if not isinstance(frame, av.VideoFrame):
            self._drops["wrong type"] += 1
        elif self._picture is None:
            self._drops["not of this file"] += 1
        elif (placed := self._picture.put_frame(frame, now)) is not None:
            self._gathered.append(placed)
            self._gathered_frames += 1

    def _take_end(self, end: object) -> None:
        ssrc = end.ssrc if isinstance(end, EndOfStream) else None
        if self._sound is not None and self._sound.follows(ssrc):
            self._gathered += self._sound.end()
        if self._picture is not None and self._picture.follows(ssrc):
            self._picture.end()

    async def _record(self, *, last: bool = False) -> None:
        """Encode and write what was gathered; nothing else of this node runs meanwhile."""
        gathered, self._gathered = self._gathered, []
        self._gathered_frames = 0
        units = await trio.to_thread.run_sync(self._encode, gathered, last, limiter=codec_pool())
        assert self._writer is not None
        await trio.to_thread.run_sync(self._writer.write, units, self._picture_track.size)
        if self._sound is not None:
            self._sound.note_recorded(self._sound_track.end)
        if self._picture is not None and self._picture_track.needs_key:
            self._picture.require_key_frame()

    def _open(self) -> MediaWriter:
        return MediaWriter(
            self.path,
            self._container,
            sound=self._sound is not None,
            picture=self._picture is not None,
            patience=self._patience,
        )

    def _encode(self, gathered: list[Recorded], last: bool) -> list[Unit]:
        units: list[Unit] = []
        sound, picture = self._sound_track, self._picture_track
        for item in gathered:
            if isinstance(item, OpusSound | PcmSound):
                units += sound.take(item)
                continue
            assert isinstance(item, EncodedPicture | RawPicture)
            units += picture.take(item)
            if self._sound is not None:
                units += sound.fill_until(item.place * 8 // 15 - SILENT_AFTER)
        if last:
            units += sound.flush()
        return units
