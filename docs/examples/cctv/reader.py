"""Reading a camera by RTSP with FFmpeg, in a thread of its own, until it ends or is cancelled.

    thread   connect ... demux -> RTP of pictures, PCM of sound --+
    trio                       take(events) <---------------------+   waits until they are taken

The thread waits for each of its hand-overs, so nothing gathers between it and the graph: who is
slow is felt by the camera, through TCP.
"""

import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Final, cast

import av
import trio

from eventgraph import Event
from rtp.media import PCM, RTP

from .config import RtspConfig, RtspUrl
from .line import Line, open_line
from .pictures import CameraPictures
from .sound import CameraSound

GRACE: Final = 0.25
"""Seconds that a reader has to say goodbye (TEARDOWN) before its line is cut."""
BURST: Final = 32
"""Packets handed over at once; a key frame has more, and a receiver's queue 128 places."""
PAUSE: Final = 0.002
"""Seconds between bursts."""

Take = Callable[[list[Event]], None]


class CameraError(Exception):
    """A camera cannot be read; the message is for people and holds no password."""


class CameraReader:
    """Reads one stream of one camera; one attempt at a time.

    Attributes:
        pictures: what became of them.
        sound_drops: of sound, by reason.
    """

    def __init__(
        self, url: RtspUrl, config: RtspConfig, take: Take, began: Callable[[], None]
    ) -> None:
        """
        Args:
            url: of the stream.
            config: time-outs.
            take: is called in trio's thread with what came.
            began: is called there when a connection has been made, before `take`.
        """
        self.pictures = CameraPictures()
        self.sound_drops: Counter[str] = Counter()
        self._url = url
        self._config = config
        self._take = take
        self._began = began
        self._limiter = trio.CapacityLimiter(1)

    @property
    def in_thread(self) -> bool:
        """Whether its thread is at work."""
        return bool(self._limiter.borrowed_tokens)

    async def read(self) -> None:
        """Read until the camera ends it. A cancelled call leaves neither thread nor connection.

        Raises:
            CameraError: it ended, or never began; why.
        """
        try:
            line = await open_line(
                self._url.host, self._url.port, timeout=self._config.open_timeout
            )
        except OSError as error:
            raise CameraError(f"cannot be reached: {error}") from error
        done = trio.Event()
        reason = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_shielded, line)
            nursery.start_soon(_cut_in_the_end, line, done)
            try:
                reason = await trio.to_thread.run_sync(
                    self._read, self._url.through(line.port), limiter=self._limiter
                )
            finally:
                done.set()
                nursery.cancel_scope.cancel()
        raise CameraError(reason)

    def _read(self, url: str) -> str:
        """In the thread; why it ended."""
        options = {
            "rtsp_transport": "tcp",
            "allowed_media_types": "video+audio",
            "analyzeduration": "500000",  # us; sound without parameters is given up then
            "fpsprobesize": "0",
        }
        timeout = (self._config.open_timeout, self._config.read_timeout)
        try:
            with av.open(url, options=options, timeout=timeout) as camera:
                return self._demux(camera)
        except (av.FFmpegError, OSError, ValueError) as error:
            return _reason(error)

    def _demux(self, camera: av.container.InputContainer) -> str:
        video = next(iter(camera.streams.video), None)
        if video is None:
            return "it sends no pictures"
        codec = getattr(video.codec_context, "name", "an unknown encoding")  # None: FFmpeg has none
        if codec != "h264":
            return f"it sends {codec}: set the camera to H.264"
        audible = [each for each in camera.streams.audio if each.codec_context is not None]
        wanted: list[av.stream.Stream] = [video, *audible[:1]]
        self.pictures.begin(video.codec_context.extradata or b"")
        sound = CameraSound(self.sound_drops)
        trio.from_thread.run_sync(self._began)
        for packet in camera.demux(wanted):
            trio.from_thread.check_cancelled()
            if not packet.size:
                continue
            if packet.stream is video:
                moment = _seconds(packet.pts, packet.time_base)
                packets = self.pictures.packets(bytes(packet), moment)
                self._hand_over([Event(RTP, each) for each in packets])
            else:
                spoken = cast("av.Packet[av.AudioStream]", packet)
                self._hand_over([Event(PCM, frame) for frame in sound.frames(spoken)])
        return "it ended the stream"

    def _hand_over(self, events: list[Event]) -> None:
        for start in range(0, len(events), BURST):
            if start:
                time.sleep(PAUSE)
            trio.from_thread.run_sync(self._take, events[start : start + BURST])


async def _run_shielded(line: Line) -> None:
    with trio.CancelScope(shield=True):
        await line.run()


async def _cut_in_the_end(line: Line, done: trio.Event) -> None:
    """Who is cancelled may still say goodbye; then the line is cut, and the thread comes home."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(GRACE, shield=True):
            await done.wait()
        line.cut()


def _seconds(ticks: int | None, base: Fraction | None) -> float | None:
    return None if ticks is None or base is None else float(ticks * base)


def _reason(error: Exception) -> str:
    """In words, without the URL, which may hold a password."""
    text = getattr(error, "strerror", None) or type(error).__name__
    return str(text).lower()
