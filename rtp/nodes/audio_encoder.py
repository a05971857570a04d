"""AudioEncoder: sound becomes RTP of any audio encoding, in a worker thread."""

from collections import deque

import trio

from eventgraph import Event, Node, NodeDelegate

from ..audio.codecs import make_encoder
from ..audio.frame_encoder import EncodedSound, FrameEncoder
from ..audio.shared_encoding import WARM_UP
from ..codec_pool import codec_pool
from ..media import END, PCM, RTP, AudioFrame
from ..mixing.mixed_frame import MixedFrame
from ..packetizer import Packetizer
from ..payload_format import PayloadFormat


class AudioEncoder(Node):
    """Turns PCM of any sample rate into RTP, a packet for each 20 ms, under its own SSRC.

    Frames may have any length. Timestamps follow theirs; the packet after a gap has the marker.
    The CSRCs of a mix are kept, and packets know their audio level (RFC 6464). After END a new
    SSRC begins: what follows is another source. Behind an `AudioMixer`, all who do not speak
    share one encoder; see `rtp.audio.shared_encoding`.

    If the threads are busy the channel fills, and refusals are counted on the link.

    Attributes:
        encoded: frames that were encoded for this node alone.
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
        self.encoded = 0
        self._wanted = wanted
        self._packetizer = Packetizer(payload_type)
        self._sample_rate = 0
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the source."""
        self._own: FrameEncoder | None = None
        self._recent: deque[MixedFrame] = deque(maxlen=WARM_UP)
        self._expected: int | None = None  # timestamp of the next frame, if none is missing
        self._next = 0  # timestamp of the next packet, in clock ticks
        self._offset = 0  # clock ticks by which packets are ahead of the frames

    @property
    def ssrc(self) -> int:
        """Of the packets that go out."""
        return self._packetizer.ssrc

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_exit(self) -> None:
        self._begin()  # codecs hold much memory: not until garbage is collected

    async def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            await self._take(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)
            self._packetizer.begin_source()
            self._begin()

    async def _take(self, frame: AudioFrame) -> None:
        goes_back = self._expected is not None and frame.timestamp < self._expected
        if goes_back or frame.sample_rate != self._sample_rate:  # another source
            ticks = frame.timestamp * self._wanted.clock_rate // frame.sample_rate
            self._offset = max(0, self._next - ticks)
            self._sample_rate = frame.sample_rate
            self._own = None
            self._recent.clear()
        self._expected = frame.timestamp + len(frame.samples)
        if isinstance(frame, MixedFrame) and frame.shared is not None:
            self._own = None  # when it is needed again its memory is an old one
            sounds = await frame.shared.encoding(self._wanted).encode(frame)
        else:
            sounds = await self._encode(frame)
        csrc: tuple[int, ...] = ()
        if isinstance(frame, MixedFrame):
            csrc = frame.csrc
            self._recent.append(frame)
        for sound in sounds:
            timestamp = sound.timestamp + self._offset
            if timestamp < self._next:  # another encoder's packet had that, or it is a warm-up
                continue
            packet = self._packetizer.packetize(
                sound.payload, timestamp, sound.duration, csrc, sound.level_octet
            )
            self._next = timestamp + sound.duration
            self._delegate.broadcast(Event(RTP, packet))

    async def _encode(self, frame: AudioFrame) -> list[EncodedSound]:
        frames: list[AudioFrame] = [frame]
        if self._own is None:
            self._own = FrameEncoder(self._wanted, frame.sample_rate)
            frames[:0] = self._recent
        self.encoded += len(frames)
        if self._own.heavy:
            payloads = await trio.to_thread.run_sync(self._own.encode, frames, limiter=codec_pool())
        else:
            payloads = self._own.encode(frames)
        return [sound for sounds in payloads for sound in sounds]
