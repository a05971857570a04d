"""VideoDecoder: RTP of video becomes images, in a worker thread."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import av
import trio

from eventgraph import Event, Node, NodeDelegate

from ..codec_pool import codec_pool
from ..codecs import UndecodableError
from ..media import END, RTP
from ..packet import RtpPacket
from ..payload_format import PayloadFormat
from ..reordering import Ordered, ReorderBuffer
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper
from ..video_assembler import EncodedFrame, VideoAssembler
from ..video_codecs import CLOCK_RATE, CODECS, VideoFrameDecoder
from ..webrtc.events import KEYFRAME_REQUEST, VIDEO
from ..webrtc.formats import GRAPH_FORMATS

MAX_PIXELS: Final = 4096 * 2304
"""Of an image: 4K. One image of it takes 14 MB."""
REORDERED_PACKETS: Final = 128
"""Packets that may wait for one that is late."""
REQUEST_INTERVAL: Final = 0.5
"""Seconds between requests for a key frame: a key frame is large, and takes a while to come."""

_BETWEEN_SOURCES = 1 / 30  # seconds from the last image of a source to the first of the next


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
        drops: packets that were not used, by reason: "unknown payload type", "malformed",
            "empty" (padding), "late" (or doubled).
        frames_dropped: frames that were not decoded, by reason: "incomplete", "too large",
            "waiting for key frame", "undecodable".
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
        self.drops: Counter[str] = Counter()
        self.keyframe_requests = 0
        self._formats = {n: f for n, f in formats.items() if f.name.upper() in CODECS}
        self._max_pixels = max_pixels
        self._buffer = ReorderBuffer(
            capacity=REORDERED_PACKETS, max_delay=round(max_delay * CLOCK_RATE)
        )
        self._assembler = VideoAssembler()
        self.frames_dropped = self._assembler.drops
        self._ssrc: int | None = None
        self._payload_type: int | None = None
        self._decoder: VideoFrameDecoder | None = None
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._waiting = True  # for a key frame
        self._offset: int | None = None  # from timestamps to pts; None until a source's first
        self._end = 0  # pts of the next source's first image
        self._asked_at = -REQUEST_INTERVAL

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            await self._take(event.obj)
        elif event.cmd == END:
            await self._end_source()
            self._delegate.broadcast(event)

    async def _take(self, packet: RtpPacket) -> None:
        if packet.payload_type not in self._formats:
            self.drops["unknown payload type"] += 1
            return
        if packet.ssrc != self._ssrc:
            await self._end_source()
            self._ssrc = packet.ssrc
        late = self._buffer.late
        for ordered in self._buffer.put(packet):
            await self._join(ordered)
        if self._buffer.late != late:
            self.drops["late"] += self._buffer.late - late
        if self._assembler.needs_key:
            self._ask()

    async def _join(self, ordered: Ordered) -> None:
        packet = ordered.packet
        payload = packet.payload
        fragment = None
        follows_gap = ordered.follows_gap
        if packet.payload_type != self._payload_type:
            await self._end_format()
            self._payload_type = packet.payload_type
            follows_gap = True
        if payload:
            try:
                fragment = CODECS[self._formats[packet.payload_type].name.upper()].parse(payload)
            except ValueError:
                self.drops["malformed"] += 1
        elif not follows_gap:
            self.drops["empty"] += 1
            return
        await self._decode(
            self._assembler.put(
                fragment, packet.timestamp, marker=packet.marker, follows_gap=follows_gap
            )
        )

    async def _decode(self, frames: list[EncodedFrame]) -> None:
        for frame in frames:
            ticks = self._unwrapper.unwrap(frame.timestamp)
            if frame.is_key:
                self._waiting = False
            elif self._waiting or frame.follows_loss:
                self._waiting = True
                self.frames_dropped["waiting for key frame"] += 1
                self._ask()
                continue
            assert self._payload_type is not None
            wanted = self._formats[self._payload_type]
            if self._decoder is None:
                self._decoder = VideoFrameDecoder(
                    CODECS[wanted.name.upper()], max_pixels=self._max_pixels
                )
            if self._offset is None:
                self._offset = self._end - ticks
            pts = ticks + self._offset
            try:
                images = await trio.to_thread.run_sync(
                    self._decoder.decode, frame, pts, wanted.clock_rate, limiter=codec_pool()
                )
            except UndecodableError:
                self.frames_dropped["undecodable"] += 1
                self._waiting = True
                self._ask()
                continue
            self._end = max(self._end, pts + round(_BETWEEN_SOURCES * wanted.clock_rate))
            self._broadcast(images)

    def _broadcast(self, images: list[av.VideoFrame]) -> None:
        for image in images:
            self._delegate.broadcast(Event(VIDEO, image))

    def _ask(self) -> None:
        now = trio.current_time()
        if now - self._asked_at >= REQUEST_INTERVAL:
            self._asked_at = now
            self.keyframe_requests += 1
            self._delegate.broadcast(Event(KEYFRAME_REQUEST))

    async def _end_source(self) -> None:
        """Decode what is whole of the source, and be ready for another."""
        for ordered in self._buffer.flush():
            await self._join(ordered)
        await self._end_format()
        self._buffer.clear()
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._ssrc = self._payload_type = self._offset = None

    async def _end_format(self) -> None:
        await self._decode(self._assembler.flush())
        if self._decoder is not None:
            self._broadcast(
                await trio.to_thread.run_sync(self._decoder.flush, limiter=codec_pool())
            )
        self._decoder = None
        self._waiting = True
