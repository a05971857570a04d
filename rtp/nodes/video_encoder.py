"""VideoEncoder: images become RTP of VP8 or H.264, in a worker thread."""

from collections import Counter
from typing import Final

import av
import trio

from eventgraph import Event, Node, NodeDelegate

from ..codec_pool import codec_pool
from ..media import END, KEYFRAME_REQUEST, RTP, VIDEO
from ..packet import HEADER_LENGTH
from ..packetizer import Packetizer
from ..payload_format import PayloadFormat
from ..video.codecs import (
    CLOCK_RATE,
    MIN_SIDE,
    UnencodableError,
    VideoFrameEncoder,
    find_codec,
)

MIN_MTU: Final = 64
"""Octets; below that packets would be all headers."""
BURST: Final = 32
"""Packets of a frame that go out before receivers have a turn: their channels are bounded."""

_MAX_STEP = 10.0  # seconds: where pts jumps further than this, ahead or back, it is another clock
_FRAME_TICKS = CLOCK_RATE // 30


class VideoEncoder(Node):
    """Turns VIDEO into RTP, some packets a frame, the last with the marker, under its own SSRC.

    Images may have any pixel format and size, which may change: a change begins with a key
    frame, and what is larger than the bounds is scaled down, as a whole. Timestamps follow pts;
    where that jumps, the images join on. After END a new SSRC begins.

    It makes a key frame at first, every `key_interval` seconds, for each new link, and when
    KEYFRAME_REQUEST comes: link the sink back to it (`rtp.webrtc.link_forwarding` does that).
    There is at most one every `request_interval` seconds: what is asked for in between is
    answered when it is over.

    If the threads are busy the channel fills, and refusals are counted on the link.

    Attributes:
        drops: images that were not sent, by reason: "no timestamp", "late" (pts not after that
            of the one before), "unencodable", "left out" (by the codec, to keep the bit rate).
        key_frames: how many were sent.
    """

    channel_size = 16  # images: half a second, and up to a megabyte and more each

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        wanted: PayloadFormat,
        payload_type: int,
        bit_rate: int = 1_000_000,
        max_width: int = 1920,
        max_height: int = 1080,
        mtu: int = 1200,
        key_interval: float = 10.0,
        request_interval: float = 0.5,
    ) -> None:
        """
        Args:
            wanted: VP8 or H264.
            payload_type: 0..127.
            bit_rate: bits a second, of payloads.
            max_width, max_height: pixels.
            mtu: octets of the largest packet, with its RTP header. 1200 leaves room for IP,
                UDP, encryption and tunnels.
            key_interval: seconds at most from a key frame to the next, of pts.
            request_interval: seconds at least from a key frame to one that is asked for.
        Raises:
            ValueError: another encoding, or an option out of range.
        """
        self._codec = find_codec(wanted)
        if not 10_000 <= bit_rate <= 100_000_000:
            raise ValueError(f"bit_rate is {bit_rate} bits a second: give 10,000..100,000,000")
        if not (MIN_SIDE <= max_width < 1 << 14 and MIN_SIDE <= max_height < 1 << 14):
            raise ValueError(
                f"max_width is {max_width} and max_height {max_height}: "
                f"give {MIN_SIDE}..16383 pixels"
            )
        if not MIN_MTU <= mtu < 1 << 16:
            raise ValueError(f"mtu is {mtu} octets: give {MIN_MTU}..65535")
        if not key_interval > 0 or not request_interval >= 0:
            raise ValueError(
                f"key_interval is {key_interval} s and request_interval {request_interval} s: "
                f"give more than 0, and at least 0"
            )
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self.key_frames = 0
        self._bit_rate = bit_rate
        self._max_width = max_width
        self._max_height = max_height
        self._payload_size = mtu - HEADER_LENGTH
        self._key_interval = key_interval * CLOCK_RATE
        self._request_interval = request_interval
        self._packetizer = Packetizer(payload_type)
        self._asked = False  # for a key frame
        self._begin_source()

    @property
    def ssrc(self) -> int:
        """Of the packets that go out."""
        return self._packetizer.ssrc

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        self._asked = True

    async def on_event(self, event: Event) -> None:
        if event.cmd == VIDEO:
            await self._take(event.obj)
        elif event.cmd == KEYFRAME_REQUEST:
            self._asked = True
        elif event.cmd == END:
            self._delegate.broadcast(event)
            self._begin_source()
            self._packetizer.begin_source()

    def _begin_source(self) -> None:
        self._encoder: VideoFrameEncoder | None = None
        self._offset = 0  # from pts to timestamps
        self._last: int | None = None  # timestamp of the image before
        self._key_timestamp = 0  # of the last key frame
        self._key_at = -self._request_interval  # when it was made

    async def _take(self, image: av.VideoFrame) -> None:
        if image.pts is None or not image.time_base:
            self.drops["no timestamp"] += 1
            return
        timestamp = round(image.pts * image.time_base * CLOCK_RATE) + self._offset
        if self._last is None or abs(timestamp - self._last) > _MAX_STEP * CLOCK_RATE:
            joined = 0 if self._last is None else self._last + _FRAME_TICKS
            self._offset += joined - timestamp
            timestamp = joined
        elif timestamp <= self._last:
            self.drops["late"] += 1
            return
        self._last = timestamp
        await self._encode(image, timestamp)

    async def _encode(self, image: av.VideoFrame, timestamp: int) -> None:
        if self._encoder is None:
            self._encoder = VideoFrameEncoder(
                self._codec,
                bit_rate=self._bit_rate,
                max_width=self._max_width,
                max_height=self._max_height,
                payload_size=self._payload_size,
            )
        now = trio.current_time()
        key = timestamp - self._key_timestamp >= self._key_interval or (
            self._asked and now - self._key_at >= self._request_interval
        )
        try:
            payloads, is_key = await trio.to_thread.run_sync(
                lambda encoder: encoder.encode(image, timestamp, key=key),
                self._encoder,
                limiter=codec_pool(),
            )
        except UnencodableError:
            self.drops["unencodable"] += 1
            return
        if not payloads:
            self.drops["left out"] += 1
            return
        if is_key:
            self._asked = False
            self._key_timestamp = timestamp
            self._key_at = now
            self.key_frames += 1
        for number, packet in enumerate(self._packetizer.packetize_frame(payloads, timestamp), 1):
            self._delegate.broadcast(Event(RTP, packet))
            if not number % BURST:
                await trio.lowlevel.checkpoint()
