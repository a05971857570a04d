"""AudioDecoder: RTP of any audio encoding becomes sound, in a worker thread."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import trio

from eventgraph import Event, Node, NodeDelegate

from ..audio.codecs import Decoder, UndecodableError, is_supported, make_decoder
from ..codec_pool import codec_pool
from ..media import END, PCM, RTP, AudioFrame
from ..packet import RtpPacket
from ..payload_format import PayloadFormat
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper

MAX_LATENESS: Final = 1.0
"""Seconds by which a packet may be late; one that goes back further begins another clock."""


class AudioDecoder(Node):
    """Turns RTP of PCMU, PCMA, opus or G722 into PCM, a frame for each packet.

    Frames begin at timestamp 0 and follow the packets' timestamps, so what is lost is a gap.
    When another SSRC follows, its first frame joins on to the last. Packets are decoded one at
    a time in the order of arrival; a codec has a memory, so what is late is left out. There is
    no jitter buffer here: for playout use a `MixerInput`.

    If the threads are busy the channel fills, and refusals are counted on the link.

    Attributes:
        drops: packets that were not decoded, by reason: "unknown payload type", "undecodable",
            "late".
    """

    def __init__(
        self, scope: str, name: str, *, formats: Mapping[int, PayloadFormat], sample_rate: int
    ) -> None:
        """
        Args:
            formats: by payload type; those without a decoder are not decoded.
            sample_rate: Hz of the frames.
        Raises:
            ValueError: the sample rate is out of range.
        """
        if sample_rate < 1:
            raise ValueError(f"sample_rate is {sample_rate} Hz: give at least 1")
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._formats = {n: f for n, f in formats.items() if is_supported(f)}
        self._sample_rate = sample_rate
        self._ssrc: int | None = None
        self._clock_rate = 0
        self._decoders: dict[int, Decoder] = {}
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._offset = 0
        self._end = 0  # of what was decoded so far, in samples

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            await self._take(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)

    async def _take(self, packet: RtpPacket) -> None:
        wanted = self._formats.get(packet.payload_type)
        if wanted is None:
            self.drops["unknown payload type"] += 1
            return
        # Another clock rate is another clock, even under the same SSRC (RFC 7160 §4).
        begins = packet.ssrc != self._ssrc or wanted.clock_rate != self._clock_rate
        if begins:
            self._ssrc, self._clock_rate = packet.ssrc, wanted.clock_rate
            self._decoders.clear()
            self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        decoder = self._decoders.get(packet.payload_type)
        if decoder is None:
            decoder = make_decoder(wanted, self._sample_rate)
            self._decoders[packet.payload_type] = decoder
        ticks = self._unwrapper.unwrap(packet.timestamp)
        timestamp = ticks * self._sample_rate // wanted.clock_rate
        if begins or self._end - timestamp - self._offset > MAX_LATENESS * self._sample_rate:
            self._offset = self._end - timestamp
        timestamp += self._offset
        if timestamp < self._end:
            self.drops["late"] += 1
            return
        try:
            if decoder.heavy:
                samples = await trio.to_thread.run_sync(
                    decoder.decode, packet.payload, limiter=codec_pool()
                )
            else:
                samples = decoder.decode(packet.payload)
        except UndecodableError:
            self.drops["undecodable"] += 1
            return
        if len(samples):
            self._end = timestamp + len(samples)
            self._delegate.broadcast(Event(PCM, AudioFrame(samples, self._sample_rate, timestamp)))
