"""The asyncio side of one track of a peer.

    connection --> inward ----> the source node     RTP, VIDEO, END
               --> feedback --> the sink node       KEYFRAME_REQUEST, RETRANSMIT
               <-- outward <--- the sink node       packets and frames
               <-- requests <-- the source node     KEYFRAME_REQUEST, RETRANSMIT

Sound comes as RTP either way: what is to be decoded is so by the source node, behind a jitter
buffer of ours (see `rtp.jitter` for why). Each arrow is a mailbox between the threads. Everything
here but `PeerTrack.source` and `sink` belongs to the asyncio thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

import av
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from eventgraph import Event

from ..mailbox import Hop, Mailbox
from ..media import (
    END,
    KEYFRAME_REQUEST,
    RETRANSMIT,
    RTP,
    VIDEO,
    AudioFrame,
    EndOfStream,
    EndReason,
)
from ..packet import RtpPacket
from .aiortc_private import (
    DecodingReceiver,
    EncodingSender,
    ForwardingReceiver,
    ForwardingSender,
    received,
    sent,
)
from .decoded import OutgoingTrack
from .formats import session_payload_types
from .rtp_statistics import RtpStatistics

MEDIA_WAITING: Final = 256
"""Packets or frames in a mailbox: two key frames of video, five seconds of sound."""
REQUESTS_WAITING: Final = 64


class Way(StrEnum):
    """How the media of a track pass through the graph."""

    DECODED = "decoded"
    """As frames: PCM and VIDEO events."""
    FORWARDED = "forwarded"
    """As RTP events; payloads are not touched, and no codec runs."""


Sendable = RtpPacket | AudioFrame | av.VideoFrame


class PeerTrack:
    """One media section: what the peer sends, and what it is sent.

    Attributes:
        kind: "audio" or "video".
        source, sink: who gets what comes from the peer; of trio's thread.
        sends, receives: whether the peer agreed on media from us, and to us.
        formats: that it agreed on, by the graph's payload types.
    """

    def __init__(self, kind: str, way: Way, to_trio: Hop, to_asyncio: Hop) -> None:
        self.kind = kind
        self.way = way
        self.sends = self.receives = False
        self.formats: tuple[int, ...] = ()
        self.source: Callable[[Event], object] | None = None
        self.sink: Callable[[Event], object] | None = None
        self.inward = Mailbox(
            to_trio, self._to_source, capacity=MEDIA_WAITING, name=f"{kind} from peer"
        )
        self.feedback = Mailbox(
            to_trio, self._to_sink, capacity=REQUESTS_WAITING, name=f"{kind} feedback"
        )
        self.outward: Mailbox[Sendable] = Mailbox(
            to_asyncio, self._send, capacity=MEDIA_WAITING, name=f"{kind} to peer"
        )
        self.requests: Mailbox[Event] = Mailbox(
            to_asyncio, self._request, capacity=REQUESTS_WAITING, name=f"{kind} requests"
        )
        self._out = OutgoingTrack(kind)
        self._sender: ForwardingSender | EncodingSender | None = None
        self._receiver: ForwardingReceiver | DecodingReceiver | None = None
        self._reader: asyncio.Task[None] | None = None

    def drops(self) -> dict[str, int]:
        """What was not passed on beside what the mailboxes count, by reason."""
        drops = Counter(self._out.drops)
        for end in (self._sender, self._receiver):
            if end is not None:
                drops.update(end.drops)
        return dict(drops)

    def received(self) -> RtpStatistics:
        """What came from the peer; for any thread."""
        return RtpStatistics(0, 0) if self._receiver is None else received(self._receiver)

    def sent(self) -> RtpStatistics:
        """What went to the peer; for any thread."""
        sender = self._sender
        return RtpStatistics(0, 0) if sender is None else sent(sender, sender.clock_rate)

    def make_sender(self, transport: RTCDtlsTransport) -> RTCRtpSender:
        """aiortc's end of what we send."""
        if self.way is Way.DECODED:
            self._sender = EncodingSender(self._out, transport)
        else:
            self._sender = ForwardingSender(
                self.kind,
                transport,
                keyframe_wanted=lambda: self.feedback.put(Event(KEYFRAME_REQUEST)),
                packet_wanted=lambda number: self.feedback.put(Event(RETRANSMIT, [number])),
            )
        return self._sender

    def make_receiver(self, transport: RTCDtlsTransport) -> RTCRtpReceiver:
        """aiortc's end of what the peer sends."""
        if self.way is Way.DECODED and self.kind == "video":
            self._receiver = DecodingReceiver(self.kind, transport)
        else:
            self._receiver = ForwardingReceiver(
                self.kind,
                transport,
                forward=lambda packet: self.inward.put(Event(RTP, packet)),
                ended=self._say_bye,
            )
        return self._receiver

    def begin(
        self, transceiver: RTCRtpTransceiver, codecs: Iterable[RTCRtpCodecParameters]
    ) -> None:
        """Offer and answer are exchanged: from now on media may flow.

        Args:
            codecs: that the answer has.
        """
        self.formats = tuple(session_payload_types(codecs))
        direction = transceiver.currentDirection or "inactive"
        self.sends = direction in {"sendonly", "sendrecv"}
        self.receives = direction in {"recvonly", "sendrecv"}
        if self.receives and self._reader is None and isinstance(self._receiver, DecodingReceiver):
            self._reader = asyncio.ensure_future(self._read(self._receiver))

    async def end(self) -> None:
        """The connection is closed."""
        self._out.stop()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self, receiver: RTCRtpReceiver) -> None:
        """Take each decoded frame at once: what is not read, aiortc keeps for ever."""
        try:
            while True:
                self.inward.put(Event(VIDEO, await receiver.track.recv()))
        except MediaStreamError:
            self._say_bye()

    def _say_bye(self) -> None:
        self.inward.put_last(Event(END, EndOfStream(EndReason.BYE)))

    def _send(self, item: Sendable) -> None:
        if not isinstance(item, RtpPacket):
            self._out.push(item)
        elif isinstance(self._sender, ForwardingSender):
            self._sender.forward(item)

    def _request(self, event: Event) -> None:
        if isinstance(self._receiver, ForwardingReceiver):
            if event.cmd == KEYFRAME_REQUEST:
                self._receiver.request_keyframe()
            elif event.cmd == RETRANSMIT:
                self._receiver.request_retransmission(event.obj)

    # On trio's thread

    def _to_source(self, event: Event) -> None:
        if self.source is not None:
            self.source(event)

    def _to_sink(self, event: Event) -> None:
        if self.sink is not None:
            self.sink(event)
