"""MixerOutput: a mix becomes RTP."""

from collections import Counter

from eventgraph import Event, Node, NodeDelegate

from ..g711 import encode_pcma, encode_pcmu
from ..media import END, PCM, RTP, AudioFrame, Samples
from ..mixed_frame import MixedFrame
from ..packetizer import Packetizer
from .g711 import SAMPLE_RATE, Encoding

_ENCODERS = {"PCMU": encode_pcmu, "PCMA": encode_pcma}
_PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}


class MixerOutput(Node):
    """Turns what an `AudioMixer` sends to one party into RTP of PCMU or PCMA.

    A mixer is a source of its own (RFC 3550 §7.1): packets have an SSRC drawn here, and those
    of the speakers in them as CSRCs. Outputs that hear the same mix encode it once. Other PCM
    is taken too, and has no CSRCs. The room is to have 8 kHz; at another rate, and for other
    encodings, use an `AudioEncoder`.

    Attributes:
        encoded: frames that were encoded here, rather than by an output that hears the same.
        drops: frames that were not sent, by reason: "wrong sample rate".
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
            payload = frame.encoded(self._encoding, self._encode)
            csrc = frame.csrc
        else:
            payload = self._encode(frame.samples)
        packet = self._packetizer.packetize(payload, frame.timestamp, len(frame.samples), csrc)
        self._delegate.broadcast(Event(RTP, packet))

    def _encode(self, samples: Samples) -> bytes:
        self.encoded += 1
        return _ENCODERS[self._encoding](samples)
