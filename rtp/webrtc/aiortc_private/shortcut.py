"""The short way of media from the socket to its receiver: no queue, no task.

In aiortc each datagram is parsed as STUN, which raises; it is put into a queue, a task is woken
for it, and each packet of RTP becomes an object with all that RTP may have. That is more than
half of what an audio packet costs. Here SRTP is told by its first octet, and handled where it
arrives; sound goes on as a view. Everything else, and all that comes before DTLS is done, takes
the way of aiortc. So does what comes while the queue holds something: nothing overtakes.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pylibsrtp
from aiortc import clock
from aiortc.rtcdtlstransport import RTCDtlsTransport, State
from aiortc.rtp import is_rtcp

from ...drops import DropReason
from ...packet import parse_packet
from .passing import ForwardingReceiver, drive

logger = logging.getLogger("rtp")


class Shortcut:
    """Of one transport."""

    def __init__(self, transport: RTCDtlsTransport, drops: Counter[str]) -> None:
        """
        Args:
            drops: counted here, by reason: "srtp" (not from the peer, or twice), "malformed"
                (neither RTP nor STUN), "receiver failed".
        """
        self._transport: Any = transport  # private names
        self._drops = drops
        transport.on("statechange", self._changed)

    def _changed(self) -> None:
        """DTLS is done: from now on there is media."""
        if self._transport._state is State.CONNECTED:
            for protocol in self._transport.transport._connection._protocols:
                long_way = protocol.datagram_received
                protocol.datagram_received = partial(self._received, long_way)

    def _received(
        self, long_way: Callable[[bytes, object], object], data: bytes, address: object
    ) -> None:
        transport = self._transport
        if (
            not data
            or not 127 < data[0] < 192  # RFC 7983 §7: not SRTP, not SRTCP
            or transport._state is not State.CONNECTED
            or transport.transport._connection._queue.qsize()
        ):
            try:
                long_way(data, address)
            except Exception:  # what aioice takes for STUN may have attributes of the wrong length
                self._drops["malformed"] += 1
            return
        transport._RTCDtlsTransport__rx_bytes += len(data)
        transport._RTCDtlsTransport__rx_packets += 1
        try:
            if is_rtcp(data):
                drive(transport._handle_rtcp_data(transport._rx_srtp.unprotect_rtcp(data)))
            else:
                self._take_rtp(transport._rx_srtp.unprotect(data))
        except pylibsrtp.Error:
            self._drops["srtp"] += 1
        except Exception:  # in aiortc it would end the connection
            if not self._drops["receiver failed"]:  # it may fail for every packet
                logger.exception("a packet of a peer was not handled")
            self._drops["receiver failed"] += 1

    def _take_rtp(self, data: bytes) -> None:
        transport = self._transport
        level_id = transport._rtp_header_extensions_map._HeaderExtensionsMap__ids.audio_level
        packet = parse_packet(data, level_id)
        if isinstance(packet, DropReason):
            self._drops["malformed"] += 1
            return
        receiver = transport._rtp_router.route_rtp(packet)  # by SSRC and payload type
        if isinstance(receiver, ForwardingReceiver) and receiver.takes_views:
            receiver.take(packet)
        elif receiver is not None:
            drive(transport._handle_rtp_data(data, arrival_time_ms=clock.current_ms()))
