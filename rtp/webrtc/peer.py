"""The asyncio side of a session: one peer connection, its tracks and its data channels.

All of it belongs to the asyncio thread.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiortc import RTCDataChannel, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.sdp import SessionDescription, candidate_from_sdp

from ..asyncio_thread import AsyncioThread
from ..errors import SdpError
from ..mailbox import Hop
from ..media import EndReason
from ..media_description import Direction
from .aiortc_private import PeerConnection
from .data_channel import PeerChannel
from .offer_check import check_candidates, check_description, is_reachable, without_unreachable
from .peer_track import PeerTrack, Way

MAX_CHANNELS: Final = 16
"""Data channels of a peer that are open at a time."""

logger = logging.getLogger("rtp")


class Peer:
    """One `RTCPeerConnection`.

    Attributes:
        tracks: one for each media section, in their order.
        connected: whether media can flow.
    """

    def __init__(
        self,
        thread: AsyncioThread,
        to_trio: Hop,
        to_asyncio: Hop,
        ways: dict[str, Way],
        directions: Mapping[str, Direction],
        *,
        consent_timeout: float,
        connect_timeout: float,
        opened: Callable[[PeerChannel], object],
        over: Callable[[EndReason], object],
    ) -> None:
        """
        Args:
            ways: by kind.
            directions: by kind; what we are able to do.
            consent_timeout, connect_timeout: seconds.
            opened: a data channel is there; called on trio's thread.
            over: the session has ended; called here, once.
        """
        self.tracks: list[PeerTrack] = []
        self.connected = False
        self._thread = thread
        self._to_trio = to_trio
        self._to_asyncio = to_asyncio
        self._ways = ways
        self._directions = directions
        self._consent_timeout = consent_timeout
        self._connect_timeout = connect_timeout
        self._opened = opened
        self._over = over
        self._connection: PeerConnection | None = None
        self._channels: set[PeerChannel] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._candidates = 0  # that the peer has sent

    async def answer(self, offer: str) -> str:
        """Take an offer; the answer with all our candidates.

        Raises:
            SdpError: the offer cannot be used.
        """
        kinds = check_description(offer)
        self._candidates = check_candidates(_candidates_of(offer))
        connection = self._open()
        try:
            for kind in kinds:
                if kind in self._ways:
                    connection.addTransceiver(kind, direction=self._directions[kind])
            reachable = without_unreachable(offer)
            await connection.setRemoteDescription(RTCSessionDescription(reachable, "offer"))
            await connection.setLocalDescription()
            answer = connection.localDescription.sdp
            self._begin(answer)
        except Exception as error:  # aiortc's parser raises whatever it stumbles over
            raise SdpError(f"the offer cannot be used: {error!r}") from error
        return answer

    async def offer(self, kinds: Iterable[str], channels: Iterable[str]) -> str:
        """Make an offer of one track of each kind and of data channels with these labels."""
        connection = self._open()
        for kind in kinds:  # before the channels, or the bundle never connects
            connection.addTransceiver(kind, direction=self._directions[kind])
        for label in channels:
            self._take_channel(connection.createDataChannel(label))
        await connection.setLocalDescription()
        return connection.localDescription.sdp

    async def take_answer(self, answer: str) -> None:
        """Take the answer to `offer`.

        Raises:
            SdpError: it cannot be used.
        """
        connection = self._connection
        if connection is None:
            raise SdpError("there is no offer that this could be the answer to")
        check_description(answer)
        self._candidates = check_candidates(_candidates_of(answer))
        try:
            reachable = without_unreachable(answer)
            await connection.setRemoteDescription(RTCSessionDescription(reachable, "answer"))
            self._begin(answer)
        except Exception as error:
            raise SdpError(f"the answer cannot be used: {error!r}") from error

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        """Take a candidate of the peer that came later (trickle ICE, RFC 8838).

        Args:
            candidate: the value of `a=candidate`, with or without that name; "" is the end.
            mid: of its media section; None: of the first.
        Raises:
            SdpError: it cannot be used.
        """
        if self._connection is None:
            raise SdpError("a candidate comes after the offer")
        self._candidates = check_candidates([candidate], self._candidates)
        try:
            if not candidate:
                await self._connection.addIceCandidate(None)
                return
            text = candidate.rpartition("candidate:")[2]
            parsed = candidate_from_sdp(text)
            if not is_reachable(text):
                return
            parsed.sdpMid = mid
            parsed.sdpMLineIndex = 0 if mid is None else None
            await self._connection.addIceCandidate(parsed)
        except Exception as error:
            raise SdpError(f"the candidate cannot be used: {error!r}") from error

    def drops(self) -> dict[str, int]:
        """Datagrams that came to nothing before they belonged to a track, by reason."""
        return {} if self._connection is None else dict(self._connection.drops)

    async def close(self) -> None:
        """End the session, and wait until nothing of it is left. Idempotent."""
        await self._end(EndReason.CLOSED)

    def _open(self) -> PeerConnection:
        if self._connection is not None or self._ending is not None:
            raise SdpError("a session makes or takes one offer; open another session")

        def make_sender(kind: str, transport: RTCDtlsTransport) -> RTCRtpSender:
            track = PeerTrack(kind, self._ways[kind], self._to_trio, self._to_asyncio)
            self.tracks.append(track)
            return track.make_sender(transport)

        def make_receiver(_: str, transport: RTCDtlsTransport) -> RTCRtpReceiver:
            return self.tracks[-1].make_receiver(transport)

        connection = self._connection = PeerConnection(
            make_receiver, make_sender, consent_timeout=self._consent_timeout
        )
        connection.on("connectionstatechange", self._changed)
        connection.on("datachannel", self._take_channel)
        self._timer = asyncio.get_running_loop().call_later(
            self._connect_timeout, self._begin_end, EndReason.SILENCE
        )
        self._thread.at_end(self.close)
        return connection

    def _begin(self, answer: str) -> None:
        """Offer and answer are exchanged; the answer says what both can speak."""
        assert self._connection is not None
        media = [m for m in SessionDescription.parse(answer).media if m.kind in self._ways]
        transceivers = self._connection.getTransceivers()
        for track, transceiver, section in zip(self.tracks, transceivers, media, strict=True):
            track.begin(transceiver, section.rtp.codecs)

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if len(self._channels) >= MAX_CHANNELS:
            channel.close()
            return
        taken = PeerChannel(channel, self._to_trio, self._to_asyncio, self._opened)
        self._channels.add(taken)
        channel.on("close", lambda: self._channels.discard(taken))

    def _changed(self) -> None:
        assert self._connection is not None
        state = self._connection.connectionState
        silent = self._connection.consent_lost  # ICE, or DTLS on top of it, may tell first
        if state == "connected":
            self.connected = True
            if self._timer is not None:
                self._timer.cancel()
        elif state == "failed":  # ICE found no way, or consent is lost; or DTLS failed
            self._begin_end(EndReason.SILENCE)
        elif state == "closed":  # aiortc closes when the peer has closed DTLS
            self._begin_end(EndReason.SILENCE if silent else EndReason.BYE)

    def _begin_end(self, reason: EndReason) -> None:
        self._thread.run_shielded(self._end(reason))

    async def _end(self, reason: EndReason) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._close())
            self.connected = False
            self._over(reason)
        await asyncio.shield(self._ending)

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self._connection is not None:
                await self._connection.close()
        except Exception:  # what aiortc trips over must not keep the rest
            logger.exception("a peer connection was not closed in order")
        for track in self.tracks:
            await track.end()
        for channel in list(self._channels):
            channel.end()
        self._thread.forget(self.close)


def _candidates_of(description: str) -> list[str]:
    return [line for line in description.splitlines() if line.startswith("a=candidate:")]
