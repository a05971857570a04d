"""The peer connection: whom it takes for its tracks, what it queues, when it gives up."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from aioice import stun
from aioice.ice import Connection
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from .shortcut import Shortcut

DATAGRAMS: Final = 1024
"""Datagrams that wait for DTLS or SRTP; aioice has no bound. A second of 10 Mbit/s."""
CONSENT_INTERVAL: Final = 5.0
"""Seconds between checks, at most (RFC 7675 §5.1)."""

MakeReceiver = Callable[[str, RTCDtlsTransport], RTCRtpReceiver]
MakeSender = Callable[[str, RTCDtlsTransport], RTCRtpSender]


class PeerConnection(RTCPeerConnection):
    """A peer connection with receivers and senders of one's own, and with bounded queues.

    Attributes:
        drops: datagrams that were not taken, by reason: "transport queue full", and those of
            `Shortcut`.
        consent_lost: whether the peer has not answered for too long.
    """

    def __init__(
        self,
        make_receiver: MakeReceiver,
        make_sender: MakeSender,
        *,
        consent_timeout: float,
    ) -> None:
        """
        Args:
            make_receiver: given kind and transport.
            make_sender: likewise.
            consent_timeout: seconds without an answer of the peer until it counts as gone.
        """
        super().__init__(RTCConfiguration(iceServers=[]))  # the default is a public server
        self.drops: Counter[str] = Counter()
        self.consent_lost = False
        self._make_receiver = make_receiver
        self._make_sender = make_sender
        self._consent_timeout = consent_timeout

    def _RTCPeerConnection__createTransceiver(  # noqa: N802  # the mangled name of the base
        self, direction: str, kind: str, sender_track: MediaStreamTrack | None = None
    ) -> RTCRtpTransceiver:
        create = super()._RTCPeerConnection__createTransceiver  # type: ignore[misc]  # private
        transceiver: RTCRtpTransceiver = create(direction, kind, sender_track)
        transport = transceiver.receiver.transport
        sender = self._make_sender(kind, transport)
        receiver = self._make_receiver(kind, transport)
        sender._stream_id = transceiver.sender._stream_id
        receiver._set_rtcp_ssrc(sender._ssrc)
        transceiver._RTCRtpTransceiver__sender = sender  # type: ignore[attr-defined]  # private
        transceiver._RTCRtpTransceiver__receiver = receiver  # type: ignore[attr-defined]  # as above
        return transceiver

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802  # as above
        create = super()._RTCPeerConnection__createDtlsTransport  # type: ignore[misc]  # private
        transport: RTCDtlsTransport = create()
        self._tame(transport.transport._connection)
        Shortcut(transport, self.drops)
        return transport

    def _tame(self, connection: Connection) -> None:
        take = connection.data_received

        def data_received(data: bytes, component: int) -> None:
            if not data:  # aiortc looks at its first octet, and the connection would end
                self.drops["malformed"] += 1
            elif connection._queue.qsize() >= DATAGRAMS:
                self.drops["transport queue full"] += 1
            else:
                take(data, component)

        connection.data_received = data_received  # type: ignore[method-assign]
        connection.query_consent = lambda: query_consent(  # type: ignore[method-assign]
            connection, self._consent_timeout, self._lose_consent
        )

    def _lose_consent(self) -> None:
        self.consent_lost = True


async def query_consent(connection: Connection, timeout: float, lost: Callable[[], object]) -> None:
    """Ask the peer again and again whether it is there; close when it was silent too long.

    aioice counts six failures about five seconds apart; this goes by the time.

    Args:
        timeout: seconds.
        lost: called before the connection is closed.
    Source: RFC 7675 §5.1.
    """
    assert connection.remote_password is not None
    loop = asyncio.get_running_loop()
    interval = min(CONSENT_INTERVAL, timeout / 4)
    heard_at = loop.time()
    while True:
        await asyncio.sleep(interval * (0.8 + 0.4 * random.random()))
        for pair in list(connection._nominated.values()):
            try:
                await pair.protocol.request(
                    connection.build_request(pair, nominate=False),
                    pair.remote_addr,
                    integrity_key=connection.remote_password.encode(),
                    retransmissions=0,
                )
                heard_at = loop.time()
            except stun.TransactionError:
                pass
        if loop.time() - heard_at >= timeout:
            lost()
            connection._query_consent_task = None  # or `close` would wait for this very task
            await connection.close()
            return
