"""G711Decoder and G711Encoder: RTP packets of PCMU or PCMA to sound, and back.

Source: RFC 3551 §4.5.14; ITU-T G.711 (the tables are in `rtp.g711`).
"""

import secrets
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from eventgraph import Event, Node, NodeDelegate

from ..g711 import decode_pcma, decode_pcmu, encode_pcma, encode_pcmu
from ..media import END, PCM, RTP, AudioFrame
from ..packet import RtpPacket, build_packet, parse_packet
from ..payload_format import PCMA, PCMU, PayloadFormat
from ..seqnum import TIMESTAMP_MODULUS, Unwrapper

Encoding = Literal["PCMU", "PCMA"]

SAMPLE_RATE: Final = 8000
"""Hz; also the clock rate."""
DEFAULT_FORMATS: Final = MappingProxyType({0: PCMU, 8: PCMA})

_DECODERS = {"PCMU": decode_pcmu, "PCMA": decode_pcma}
_ENCODERS = {"PCMU": encode_pcmu, "PCMA": encode_pcma}
_PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}
_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF


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
    """Turns PCM into RTP, a packet for each frame, under an SSRC of its own.

    Timestamps follow the frames', so gaps stay; the packet after one has the marker, as
    after silence (RFC 3551 §4.1). After END a new SSRC begins: what follows is another
    source.

    Attributes:
        drops: frames that were not encoded, by reason: "wrong sample rate" (resample before).
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
        if payload_type is None:
            payload_type = _PAYLOAD_TYPES[encoding]
        elif not 0 <= payload_type <= 127:
            raise ValueError(f"payload_type is {payload_type}: choose 0..127")
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._encode = _ENCODERS[encoding]
        self._payload_type = payload_type
        self._begin_source()

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == PCM:
            self._packetize(event.obj)
        elif event.cmd == END:
            self._delegate.broadcast(event)
            self._begin_source()

    def _begin_source(self) -> None:
        """Draw what RFC 3550 §5.1 wants random."""
        self._ssrc = secrets.randbits(32)
        self._sequence_number = secrets.randbits(16)
        self._timestamp_offset = secrets.randbits(32)
        self._expected: int | None = None  # timestamp of the next frame, if none is missing

    def _packetize(self, frame: AudioFrame) -> None:
        if frame.sample_rate != SAMPLE_RATE:
            self.drops["wrong sample rate"] += 1
            return
        packet = parse_packet(
            build_packet(
                self._encode(frame.samples),
                payload_type=self._payload_type,
                sequence_number=self._sequence_number,
                timestamp=(frame.timestamp + self._timestamp_offset) & _MASK_32,
                ssrc=self._ssrc,
                marker=int(frame.timestamp != self._expected),
            )
        )
        self._sequence_number = (self._sequence_number + 1) & _MASK_16
        self._expected = frame.timestamp + len(frame.samples)
        self._delegate.broadcast(Event(RTP, packet))
