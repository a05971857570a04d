"""Playout: RTP becomes sound again, in time, behind a jitter buffer."""

from collections import Counter
from collections.abc import Mapping
from math import ceil, inf
from typing import Final

import msgspec
import trio

from eventgraph import Event, NodeDelegate
from eventgraph.parking import ParkedTask

from ..audio.codecs import is_supported
from ..codec_pool import codec_pool
from ..media import END, PCM, RTP, AudioFrame
from ..mixing.packet_voice import PacketVoice
from ..packet import RtpPacket
from ..payload_format import STATIC_FORMATS, PayloadFormat
from ..playout import JitterStatistics
from .paced import PacedNode

PRESENCE: Final = 1.0
"""Seconds after its last packet during which a source is there. Opus sends something each 0.4 s
while its speaker is silent (RFC 6716 §2.1.9), so only a source that has gone is missing longer."""
MAX_DRAIN: Final = 0.4
"""Seconds that END waits for sound that came before it; no jitter buffer holds more."""

ON_THE_SPOT: Final = 1
"""Packets that are decoded without a thread."""

_DUE: Final = -1
"""An event to oneself: the frame is due."""


class PlayoutStatistics(msgspec.Struct, frozen=True):
    """A playout in numbers.

    Attributes:
        playing: whether frames are being made: a source is there.
        ssrc: of what was played last.
        delay: seconds that a packet which came the fastest way waits, as of the last one played.
        target: seconds; what `delay` is brought to.
        frames: made so far.
        frames_skipped: left out after stalls.
        concealed: times that an earlier packet was played for one that was not there.
        drops: packets that were not decoded, by reason: "unknown payload type", "undecodable".
        jitter: of the jitter buffer, with what it discarded; None before the first packet. It,
            `concealed` and `drops` begin anew where a source has another clock rate.
    """

    playing: bool
    ssrc: int | None
    delay: float
    target: float
    frames: int
    frames_skipped: int
    concealed: int
    drops: dict[str, int]
    jitter: JitterStatistics | None


class Playout(PacedNode):
    """Decodes RTP and broadcasts a frame of PCM at the time at which it is due.

    Packets wait in a `JitterBuffer` for as long as the network needs of late; what is lost is
    concealed. After a burst the delay is back at its target within a second. A packet is decoded
    on the spot, several at once in the codec pool: 20 ms of Opus take 25 to 40 µs, and the way to
    the pool and back takes 40 to 60 of this very thread.

    From the first sound of a source frames follow each other without a gap, silent ones among
    them, until no packet has come for `PRESENCE` or the source has ended. Then there are none:
    timestamps go on with the clock, so those of the next source are ahead by the time between.
    END is passed on when all that came before it was played.

    What it does after a stall, see `PacedNode`.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        formats: Mapping[int, PayloadFormat] = STATIC_FORMATS,
        sample_rate: int = 8000,
        frame_duration: float = 0.02,
        resync_after: float = 0.2,
    ) -> None:
        """
        Args:
            formats: by payload type; those without a decoder are passed over.
            sample_rate: of the frames, Hz.
            frame_duration: seconds; a whole number of samples.
            resync_after: seconds that a frame may be late by.
        Raises:
            ValueError: an option is out of range.
        """
        super().__init__(
            scope,
            name,
            sample_rate=sample_rate,
            frame_duration=frame_duration,
            resync_after=resync_after,
        )
        self._formats = {n: f for n, f in formats.items() if is_supported(f)}
        self._clock_rates = {n: f.clock_rate for n, f in self._formats.items()}
        self._voice: PacketVoice | None = None
        self._unknown = 0  # packets that came before there was a voice to count them
        self._active = False  # a source is there
        self._playing = False  # and has been heard
        self._heard_at = -inf
        self._asked = False  # for a frame
        self._frames = 0
        self._pace = trio.CancelScope()
        self._parking = ParkedTask()

    def statistics(self) -> PlayoutStatistics:
        """The playout in numbers, as of the last frame."""
        drops: Counter[str] = Counter()
        if self._unknown:
            drops["unknown payload type"] = self._unknown
        voice = None if self._voice is None else self._voice.statistics()
        if voice is not None:
            drops.update(voice.drops)
        return PlayoutStatistics(
            playing=self._playing,
            ssrc=None if self._voice is None else self._voice.ssrc,
            delay=0.0 if voice is None else voice.delay,
            target=0.0 if voice is None else voice.target,
            frames=self._frames,
            frames_skipped=self.frames_skipped,
            concealed=0 if voice is None else voice.concealed,
            drops=dict(drops),
            jitter=None if voice is None else voice.jitter,
        )

    def take_packet(self, packet: RtpPacket, arrived: float) -> None:
        """A packet arrived at `arrived`, in seconds of trio's clock."""
        clock_rate = self._clock_rates.get(packet.payload_type, 0)
        voice = self._voice
        if voice is None or clock_rate not in {0, voice.clock_rate}:
            if not clock_rate:
                self._unknown += 1
                return
            voice = PacketVoice(self.scope, self._formats, self.sample_rate, clock_rate)
            self._voice = voice
        voice.put(packet, arrived)
        self._heard_at = arrived
        if not self._active:
            self._active = True
            frame = (trio.current_time() - self._start) * self.sample_rate / self.frame_samples
            self.frame_number = max(self.frame_number, ceil(frame))
            self._ask()

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._start = trio.current_time()
        # Not slept in `on_event`: packets would wait as long, and seem to arrive in bunches. The
        # nursery is the graph's, so it does not leave this task behind.
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.start_soon(self._keep_pace, name=f"pace of {delegate.address}")

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            self.take_packet(event.obj, trio.current_time())
        elif event.cmd == _DUE:
            self._asked = False
            if self._active:
                await self._wait_and_make()
                self._ask()
        elif event.cmd == END:
            await self._end(event)

    def on_exit(self) -> None:
        self._active = False
        self._pace.cancel()

    async def on_frame(self) -> None:
        voice, size = self._voice, self.frame_samples
        assert voice is not None
        voice.gather(self.due, size)
        self._playing |= not voice.silent
        if voice.heavy and voice.packets > ON_THE_SPOT:
            samples = await trio.to_thread.run_sync(voice.render, size, limiter=codec_pool())
        else:
            samples = voice.render(size)
        if self._playing:
            self._frames += 1
            self._delegate.broadcast(
                Event(PCM, AudioFrame(samples, self.sample_rate, self.first_sample))
            )
        if not voice.held and trio.current_time() - self._heard_at >= PRESENCE:
            self._active = self._playing = False

    async def _end(self, end: Event) -> None:
        voice = self._voice
        give_up_at = trio.current_time() + MAX_DRAIN
        while self._active and voice and voice.held and trio.current_time() < give_up_at:
            await self._wait_and_make()
        self._active = self._playing = False
        self._delegate.broadcast(end)

    def _ask(self) -> None:
        """Have a frame made when it is due."""
        if self._active and not self._asked:
            self._asked = True
            self._parking.unpark()

    async def _keep_pace(self) -> None:
        with self._pace:
            while True:
                if not self._asked:
                    await self._parking.park()
                await trio.sleep_until(self.due)
                # Refused in a flood, or when it leaves; nothing tells when there is room again.
                while not self._delegate.deliver_self(Event(_DUE)):  # noqa: ASYNC110
                    await trio.sleep(self.frame_samples / self.sample_rate)
                await self._parking.park()
