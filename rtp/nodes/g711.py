"""G711Decoder and G711Encoder: RTP packets of PCMU or PCMA to sound, and back.

Source: RFC 3551 §4.5.14; ITU-T G.711 (the tables are in `rtp.audio.g711`).
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from eventgraph import Event, Node, NodeDelegate

from ..audio.g711 import decode_pcma, decode_pcmu, encode_pcma, encode_pcmu
from ..audio.loudness import level_of
from ..audio_level import level_octet
from ..media import END, PCM, RTP, AudioFrame, Samples
from ..mixing.mixed_frame import MixedFrame
from ..packet import RtpPacket
from ..packetizer import Packetizer
from ..payload_format import PCMA, PCMU, PayloadFormat
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper

Encoding = Literal["PCMU", "PCMA"]

SAMPLE_RATE: Final = 8000
"""Hz; also the clock rate."""
DEFAULT_FORMATS: Final = MappingProxyType({0: PCMU, 8: PCMA})

_DECODERS = {"PCMU": decode_pcmu, "PCMA": decode_pcma}
_ENCODERS = {"PCMU": encode_pcmu, "PCMA": encode_pcma}
_PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}


class G711Decoder(Node):
    """Turns RTP into PCM, a frame for each packet, in the order of arrival.

    Frames begin at timestamp 0 and follow the packets' timestamps, so what is lost is a gap
    and what is late goes back. When another SSRC follows, its first frame joins on to the
    last: the clocks of two sources have nothing to do with each other.

    Attributes:
        drops: packets that were not decoded, by reason: "not g711", "empty".
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        formats: Mapping[int, PayloadFormat] = DEFAULT_FORMATS,
    ) -> None:
        """
        Args:
            formats: by payload type; those that are neither PCMU nor PCMA are not decoded.
        """
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._decoders = {
            number: _DECODERS[wanted.name.upper()]
            for number, wanted in formats.items()
            if wanted.name.upper() in _DECODERS
        }
        self._ssrc: int | None = None
        self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
        self._offset = 0
        self._end = 0  # of what was decoded so far, in samples

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            self._decode(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)

    def _decode(self, packet: RtpPacket) -> None:
        decode = self._decoders.get(packet.payload_type)
        if decode is None:
            self.drops["not g711"] += 1
            return
        samples = decode(packet.payload)
        if not len(samples):
            self.drops["empty"] += 1
            return
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._unwrapper = Unwrapper(modulus=TIMESTAMP_MODULUS)
            self._offset = self._end - packet.timestamp
        timestamp = self._unwrapper.unwrap(packet.timestamp) + self._offset
        self._end = max(self._end, timestamp + len(samples))
        self._delegate.broadcast(Event(PCM, AudioFrame(samples, SAMPLE_RATE, timestamp)))


class G711Encoder(Node):
    """Turns PCM into RTP of PCMU or PCMA, a packet for each frame, under an SSRC of its own.

    Timestamps follow the frames', so gaps stay; the packet after one has the marker, as
    after silence (RFC 3551 §4.1). After END a new SSRC begins: what follows is another
    source. Behind an `AudioMixer`, packets have the speakers in them as CSRCs (RFC 3550
    §7.1), and all mixes of a frame are encoded in one go. Packets know their audio level
    (RFC 6464).

    Attributes:
        encoded: frames that were encoded here. Those of an `AudioMixer` are encoded, for all
            parties at once, by the encoder that asks first.
        drops: frames that were not sent, by reason: "wrong sample rate" (resample before, or
            use an `AudioEncoder`).
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        encoding: Encoding = "PCMU",
        payload_type: int | None = None,
    ) -> None:
        """
        Args:
            encoding: which law.
            payload_type: 0..127; None: the static one, 0 or 8.
        Raises:
            ValueError: another encoding, or a payload type out of range.
        """
        if encoding not in _ENCODERS:
            raise ValueError(f"encoding is {encoding!r}: choose PCMU or PCMA")
        super().__init__(scope, name)
        self.encoded = 0
        self.drops: Counter[str] = Counter()
        self._encoding = encoding
        self._packetizer = Packetizer(
            _PAYLOAD_TYPES[encoding] if payload_type is None else payload_type
        )

    @property
    def ssrc(self) -> int:
        """Of the packets that go out."""
        return self._packetizer.ssrc

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            self._send(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)
            self._packetizer.begin_source()

    def _send(self, frame: AudioFrame) -> None:
        if frame.sample_rate != SAMPLE_RATE:
            self.drops["wrong sample rate"] += 1
            return
        csrc: tuple[int, ...] = ()
        if isinstance(frame, MixedFrame):
            payload, level = frame.encoded(self._encoding, self._encode)
            csrc = frame.csrc
        else:
            payload = self._encode(frame.samples)
            level = level_octet(level_of(frame.samples))
        packet = self._packetizer.packetize(
            payload, frame.timestamp, len(frame.samples), csrc, level
        )
        self._delegate.broadcast(Event(RTP, packet))

    def _encode(self, samples: Samples) -> bytes:
        self.encoded += 1
        return _ENCODERS[self._encoding](samples)
