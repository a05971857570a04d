"""AudioEncoder: sound becomes RTP of any audio encoding, in a worker thread."""

import trio

from eventgraph import Event, Node, NodeDelegate

from ..codec_pool import codec_pool
from ..codecs import Encoder, make_encoder
from ..media import END, PCM, RTP, AudioFrame
from ..mixed_frame import MixedFrame
from ..packetizer import Packetizer
from ..payload_format import PayloadFormat


class AudioEncoder(Node):
    """Turns PCM of any sample rate into RTP, a packet for each 20 ms, under its own SSRC.

    Frames may have any length. Timestamps follow theirs; the packet after a gap has the marker.
    The CSRCs of a mix are kept. After END a new SSRC begins: what follows is another source.

    If the threads are busy the channel fills, and refusals are counted on the link.
    """

    def __init__(self, scope: str, name: str, *, wanted: PayloadFormat, payload_type: int) -> None:
        """
        Args:
            wanted: PCMU, PCMA, opus or G722.
            payload_type: 0..127.
        Raises:
            ValueError: another encoding, or a payload type out of range.
        """
        make_encoder(wanted, 8000)  # raises now rather than with the first frame
        super().__init__(scope, name)
        self._wanted = wanted
        self._packetizer = Packetizer(payload_type)
        self._encoder: Encoder | None = None
        self._sample_rate = 0
        self._expected: int | None = None  # timestamp of the next frame, if none is missing
        self._next = 0  # timestamp of the next packet, in clock ticks

    @property
    def ssrc(self) -> int:
        """Of the packets that go out."""
        return self._packetizer.ssrc

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            await self._take(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)
            self._encoder = None
            self._expected = None
            self._next = 0
            self._packetizer.begin_source()

    async def _take(self, frame: AudioFrame) -> None:
        if self._encoder is None or frame.sample_rate != self._sample_rate:
            self._encoder = make_encoder(self._wanted, frame.sample_rate)
            self._sample_rate = frame.sample_rate
            self._expected = None
        if frame.timestamp != self._expected:
            # Less than a packet of what was before the gap may be left, and is sent after it.
            self._next = max(
                self._next, frame.timestamp * self._wanted.clock_rate // frame.sample_rate
            )
        self._expected = frame.timestamp + len(frame.samples)
        encoder = self._encoder
        if encoder.heavy:
            payloads = await trio.to_thread.run_sync(
                encoder.encode, frame.samples, limiter=codec_pool()
            )
        else:
            payloads = encoder.encode(frame.samples)
        csrc = frame.csrc if isinstance(frame, MixedFrame) else ()
        for payload in payloads:
            ticks = encoder.packet_ticks
            packet = self._packetizer.packetize(payload, self._next, ticks, csrc)
            self._next += ticks
            self._delegate.broadcast(Event(RTP, packet))
