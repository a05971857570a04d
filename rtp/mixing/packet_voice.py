"""PacketVoice: RTP becomes a party's sound."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from ..audio.codecs import Decoder, UndecodableError, is_supported, make_decoder
from ..audio.sample_queue import SampleQueue
from ..jitter import JitterBuffer
from ..media import Samples
from ..packet import RtpPacket
from ..payload_format import PayloadFormat
from ..playout import Gap
from .mix_minus import FADE_FRAMES
from .voice import Decode, VoiceStatistics

QUIET_LEVEL: Final = 60
"""-dBov (RFC 6464), from which on a packet may be left out, or silence put before it, without
harm: a room in which nobody speaks is about as loud."""

_PACKETS_AT_ONCE: Final = 16  # that a frame takes at most; more take no time, or say nothing


def is_quiet(packet: RtpPacket) -> bool:
    """Whether its sender says that there is next to nothing in it."""
    level = packet.audio_level
    return level is not None and level >= QUIET_LEVEL


class PacketVoice:
    """Plays RTP through a jitter buffer; what is lost is concealed.

    Where packets tell their level the buffer changes its delay at quiet ones. They are decoded
    all the same: a codec has a memory, and what follows a part that it did not hear is damaged.

    Attributes:
        open: False once the party is gone.
        ssrc: of what is being played; None before that.
        clock_rate: of the packets, Hz.
    """

    def __init__(
        self, party: str, formats: Mapping[int, PayloadFormat], sample_rate: int, clock_rate: int
    ) -> None:
        """
        Args:
            party: who speaks.
            formats: by payload type, of one clock rate; those without a decoder are passed over.
            sample_rate: of the room, Hz.
            clock_rate: of the packets, Hz.
        """
        self.party = party
        self.open = True
        self.ssrc: int | None = None
        self.clock_rate = clock_rate
        self._formats = {n: f for n, f in formats.items() if is_supported(f)}
        self._sample_rate = sample_rate
        self._jitter = JitterBuffer(clock_rate)
        self._begun = False
        self._level: int | None = None
        self._decoders: dict[int, Decoder] = {}
        # To be decoded, and by whom: by then another source may have begun. Or of a gap, how much.
        self._gathered: list[tuple[RtpPacket, Decoder] | int] = []
        self._rendered = SampleQueue()
        self._last: Samples = np.zeros(0, np.int16)
        self._repeats = FADE_FRAMES  # of the last packet, so far
        self._drops: Counter[str] = Counter()

    def put(self, packet: RtpPacket, now: float) -> None:
        """A packet has arrived at `now` (seconds)."""
        level = packet.audio_level
        if not self._begun:
            self._begun = True
            if level is not None:  # a peer that tells levels tells them always
                self._jitter = JitterBuffer(self.clock_rate, is_quiet=is_quiet)
        self._level = level
        self._jitter.put(packet, now)

    @property
    def heavy(self) -> bool:
        return any(isinstance(item, tuple) and item[1].heavy for item in self._gathered)

    @property
    def packets(self) -> int:
        """To be decoded by the next `render`."""
        return sum(isinstance(item, tuple) for item in self._gathered)

    @property
    def silent(self) -> bool:
        """Whether what was gathered has no sound, not even a concealed one."""
        return not len(self._rendered) and all(
            isinstance(item, int) and item < 0 for item in self._gathered
        )

    @property
    def held(self) -> int:
        """Packets that wait for their time."""
        return self._jitter.statistics().held

    def gather(self, due: float, frame_samples: int) -> None:
        expected = len(self._rendered)
        for _ in range(_PACKETS_AT_ONCE):
            if expected >= frame_samples:
                return
            item = self._jitter.get(due + expected / self._sample_rate)
            samples = round(self._jitter.duration * self._sample_rate)
            if isinstance(item, RtpPacket):
                decoder = self._decoder_for(item)
                if decoder is None:
                    continue  # such as a key press, which takes no time
                self._gathered.append((item, decoder))
            else:
                # SILENCE is no sound at all, and nothing to be repeated: negative.
                self._gathered.append(-samples if item is Gap.SILENCE else samples)
            expected += samples

    def undecoded(self, frame_samples: int) -> tuple[Decode, bytes] | None:
        gathered = self._gathered
        if len(gathered) != 1 or len(self._rendered):
            return None
        item = gathered[0]
        if not isinstance(item, tuple):
            return None
        packet, decoder = item
        payload = packet.payload
        if decoder.table is None or len(payload) != frame_samples:
            return None
        return decoder.table, payload

    def take_decoded(self, samples: Samples) -> None:
        self._gathered.clear()
        self._last, self._repeats = samples, 0

    def render(self, frame_samples: int) -> Samples:
        for item in self._gathered:
            if isinstance(item, tuple):
                self._play(*item)
            elif item < 0:
                self._repeats = FADE_FRAMES
                self._rendered.put(np.zeros(-item, np.int16))
            else:
                self._rendered.put(self._concealment(item))
        self._gathered.clear()
        samples = self._rendered.take(frame_samples)
        if len(samples) < frame_samples:  # a payload was shorter than those before
            samples = np.concatenate((np.zeros(frame_samples - len(samples), np.int16), samples))
        return samples

    def statistics(self) -> VoiceStatistics:
        jitter = self._jitter.statistics()
        return VoiceStatistics(
            self.party,
            jitter.delay,
            jitter.target,
            jitter.concealed,
            dict(self._drops),
            jitter,
            self._level,
        )

    def _decoder_for(self, packet: RtpPacket) -> Decoder | None:
        if packet.ssrc == self.ssrc and packet.payload_type in self._decoders:
            return self._decoders[packet.payload_type]
        wanted = self._formats.get(packet.payload_type)
        if wanted is None:
            self._drops["unknown payload type"] += 1
            return None
        if packet.ssrc != self.ssrc:
            self._decoders.clear()  # their state is another source's
            self.ssrc = packet.ssrc
        decoder = self._decoders[packet.payload_type] = make_decoder(wanted, self._sample_rate)
        return decoder

    def _play(self, packet: RtpPacket, decoder: Decoder) -> None:
        try:
            samples = decoder.decode(packet.payload)
        except UndecodableError:
            self._drops["undecodable"] += 1
            samples = self._concealment(round(self._jitter.duration * self._sample_rate))
        else:
            self._last, self._repeats = samples, 0
        self._rendered.put(samples)

    def _concealment(self, samples: int) -> Samples:
        """The last packet again, at half the amplitude each time, and then silence."""
        self._repeats += 1
        if self._repeats > FADE_FRAMES or not len(self._last):
            return np.zeros(samples, np.int16)
        concealment: Samples = np.resize(self._last, samples) >> self._repeats
        return concealment
