"""MixerInput: the way of one party into a room."""

from collections.abc import Mapping
from typing import TypeVar

import trio

from eventgraph import Event, Node, NodeDelegate

from ..audio.codecs import is_supported
from ..media import PCM, RTP
from ..mixing.frame_voice import FrameVoice
from ..mixing.packet_voice import PacketVoice
from ..mixing.voice import JOIN
from ..packet import RtpPacket
from ..payload_format import STATIC_FORMATS, PayloadFormat

_V = TypeVar("_V", PacketVoice, FrameVoice)


class MixerInput(Node):
    """Gives what a party says, as RTP or PCM, to the `AudioMixer` that it is linked to.

    To link it is to join the room, to take the link down is to leave. It hands the mixer a
    `Voice`, once; from then on the mixer takes sound from that at its own pace, and late input
    delays nobody. Linked to several mixers it has a voice in each.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        sample_rate: int = 8000,
        formats: Mapping[int, PayloadFormat] = STATIC_FORMATS,
        party: str | None = None,
    ) -> None:
        """
        Args:
            sample_rate: of the room, Hz.
            formats: of RTP, by payload type; those without a decoder are passed over.
            party: who speaks, and does not hear it again; None: the scope of this node.
        Raises:
            ValueError: the sample rate is out of range.
        """
        if sample_rate < 1:
            raise ValueError(f"sample_rate is {sample_rate} Hz: give at least 1")
        super().__init__(scope, name)
        self.party = party or scope
        self._sample_rate = sample_rate
        self._formats = {n: f for n, f in formats.items() if is_supported(f)}
        self._clock_rates = {n: f.clock_rate for n, f in self._formats.items()}
        self._voices: dict[int, PacketVoice | FrameVoice] = {}  # by link

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        # Bound once: trio.current_time looks the clock up each time, for every packet.
        self._clock = trio.lowlevel.current_clock().current_time

    def on_event(self, event: Event) -> None:
        # END needs nothing: a voice without input is silent by itself, and another may follow.
        if event.cmd == RTP:
            self._put_packet(event.obj)
        elif event.cmd == PCM:
            for link_id in self._delegate.links:
                voice = self._voices.get(link_id)
                if not isinstance(voice, FrameVoice):
                    voice = self._begin(link_id, FrameVoice(self.party, self._sample_rate))
                voice.put(event.obj)

    def on_link_down(self, link_id: int, _scope: str, _name: str) -> None:
        self._end(link_id)

    def on_exit(self) -> None:
        for link_id in list(self._voices):
            self._end(link_id)

    def _put_packet(self, packet: RtpPacket) -> None:
        now = self._clock()
        # 0 if it has no sound: then it takes its place among those of the voice that there is.
        clock_rate = self._clock_rates.get(packet.payload_type, 0)
        for link_id in self._delegate.links:
            voice = self._voices.get(link_id)
            if not isinstance(voice, PacketVoice) or clock_rate not in {0, voice.clock_rate}:
                if not clock_rate:
                    continue
                voice = self._begin(
                    link_id,
                    PacketVoice(self.party, self._formats, self._sample_rate, clock_rate),
                )
            voice.put(packet, now)

    def _begin(self, link_id: int, voice: _V) -> _V:
        self._end(link_id)
        if self._delegate.deliver(link_id, Event(JOIN, voice)):
            self._voices[link_id] = voice  # else the mixer is full: again with the next event
        return voice

    def _end(self, link_id: int) -> None:
        voice = self._voices.pop(link_id, None)
        if voice is not None:
            voice.open = False  # the mixer sees it at its next frame, even after a crash here
