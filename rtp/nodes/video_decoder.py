"""VideoDecoder: RTP of video becomes images, in a worker thread."""

from collections.abc import Mapping
from typing import Final

import av
import trio

from eventgraph import Event, Node, NodeDelegate

from ..audio.codecs import UndecodableError
from ..codec_pool import codec_pool
from ..media import END, KEYFRAME_REQUEST, RTP, VIDEO
from ..packet import RtpPacket
from ..payload_format import GRAPH_FORMATS, PayloadFormat
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper
from ..video.codecs import CLOCK_RATE, CODECS, VideoFrameDecoder
from ..video.frames import EncodedFrame, FrameAssembler

MAX_PIXELS: Final = 4096 * 2304
"""Of an image: 4K. One image of it takes 14 MB."""

_FRAME_TICKS: Final = CLOCK_RATE // 30  # from the last image of a source to the first of the next


class VideoDecoder(Node):
    """Turns RTP of VP8 and H.264 into VIDEO: an `av.VideoFrame` for each frame that came whole.

    Images have the pixel format of the codec, mostly yuv420p, and any size, which may change.
    Their pts begins at 0 and follows the packets' timestamps; when another SSRC follows, its
    first image joins on to the last. Packets may overtake each other: one that is missing is
    waited for until others are `max_delay` younger. Then its frame is dropped, and as later ones
    build upon it, all up to the next key frame, which is asked for: KEYFRAME_REQUEST is
    broadcast, at most twice a second. Link the node to the source that feeds it, or let
    `rtp.webrtc.link_forwarding` do that.

    If the threads are busy the channel fills, and refusals are counted on the link.

    Attributes:
        drops: packets that were not used, by reason; as of `FrameAssembler`.
        frames_dropped: frames that were not decoded, by reason; as of `FrameAssembler`, and
            "undecodable".
        keyframe_requests: how often a key frame was asked for.
    """

    channel_size = 1024  # packets; a key frame comes at once and has hundreds

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        formats: Mapping[int, PayloadFormat] = GRAPH_FORMATS,
        max_delay: float = 0.1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """
        Args:
            formats: by payload type; those that are neither VP8 nor H264 are not decoded.
            max_delay: seconds by which a packet may be late, by the timestamps of others.
            max_pixels: width times height of the largest image.
        Raises:
            ValueError: an option is out of range.
        """
        if not 0 <= max_delay <= 10 or not 1 <= max_pixels < 1 << 31:
            raise ValueError(
                f"max_delay is {max_delay} s and max_pixels {max_pixels}: "
                f"give 0..10, and at least 1 and less than 2**31"
            )
        super().__init__(scope, name)
        encodings = {n: name for n, f in formats.items() if (name := f.name.upper()) in CODECS}
        self._assembler = FrameAssembler(encodings, max_wait=max_delay)
        self.drops = self._assembler.drops
        self.frames_dropped = self._assembler.frames_dropped
        self.keyframe_requests = 0
        self._max_pixels = max_pixels
        self._of_packets = Unwrapper(modulus=TIMESTAMP_MODULUS)  # and of strays
        self._of_frames = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._decoder: VideoFrameDecoder | None = None
        self._encoding: str | None = None  # of the decoder
        self._ssrc: int | None = None
        self._offset = 0  # from timestamps to pts
        self._end = 0  # pts of the next source's first image

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            await self._take(event.obj)
        elif event.cmd == END:
            await self._decode(self._assembler.flush())
            await self._close_decoder()
            self._ssrc = None
            self._delegate.broadcast(event)

    async def _take(self, packet: RtpPacket) -> None:
        # Waiting goes by timestamps: a burst, or threads that were busy, make no packet late.
        media_time = self._of_packets.unwrap(packet.timestamp) / CLOCK_RATE
        await self._decode(self._assembler.put(packet, media_time))
        if self._assembler.wants_key_frame(trio.current_time()):
            self.keyframe_requests += 1
            self._delegate.broadcast(Event(KEYFRAME_REQUEST))

    async def _decode(self, frames: list[EncodedFrame]) -> None:
        damaged = False
        for frame in frames:
            if damaged and not frame.key:
                self.frames_dropped["before key frame"] += 1
                continue
            pts = await self._place(frame)
            decoder = self._decoder
            if decoder is None:
                codec = CODECS[frame.encoding]
                decoder = self._decoder = VideoFrameDecoder(codec, max_pixels=self._max_pixels)
            try:
                images = await trio.to_thread.run_sync(
                    decoder.decode, frame.data, pts, limiter=codec_pool()
                )
            except UndecodableError:
                self.frames_dropped["undecodable"] += 1
                damaged = True
                continue
            damaged = False
            self._end = max(self._end, pts + _FRAME_TICKS)
            self._broadcast(images)
        if damaged:
            self._assembler.require_key_frame()

    async def _place(self, frame: EncodedFrame) -> int:
        """The pts of a frame; if it is of another source, the one before has ended."""
        if (frame.ssrc, frame.encoding) != (self._ssrc, self._encoding):
            await self._close_decoder()
        ticks = self._of_frames.unwrap(frame.timestamp)
        if frame.ssrc != self._ssrc:
            self._offset = self._end - ticks
        self._ssrc = frame.ssrc
        self._encoding = frame.encoding
        return ticks + self._offset

    async def _close_decoder(self) -> None:
        """Give out the images that the decoder has held back."""
        if self._decoder is not None:
            self._broadcast(
                await trio.to_thread.run_sync(self._decoder.flush, limiter=codec_pool())
            )
        self._decoder = None

    def _broadcast(self, images: list[av.VideoFrame]) -> None:
        for image in images:
            self._delegate.broadcast(Event(VIDEO, image))
