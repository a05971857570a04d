"""All that reaches into aiortc and aioice, in one place.

aiortc has no public way to forward RTP without decoding it, to bound its queues, or to set how
soon a lost peer is noticed. So these modules override private methods and touch private names
of exactly the versions below; `tests/webrtc/test_aiortc_private.py` fails when one of them
changes. Private attributes are declared at the head of each class, under their mangled names.

    connection   the peer connection, its queue of datagrams, and its consent checks
    coding       decoded tracks: receiver and sender with a codec
    passing      forwarded tracks: receiver and sender without
    reports      what it counts of RTP and hears by RTCP
    shortcut     the way of media from the socket to its receiver

Everything here runs on the asyncio thread, but for `reports`.
"""

from typing import Final

from .coding import DecodingReceiver, EncodingSender
from .connection import PeerConnection
from .passing import ForwardingReceiver, ForwardingSender
from .reports import received, sent

VERSIONS: Final = {"aiortc": "1.16.0", "aioice": "0.13.0"}

__all__ = [
    "VERSIONS",
    "DecodingReceiver",
    "EncodingSender",
    "ForwardingReceiver",
    "ForwardingSender",
    "PeerConnection",
    "received",
    "sent",
]
