"""rtp: a media server on an event graph.

From the top down, each layer needing only those below it::

    node_types                         the nodes for the node language
    leased_nodes  endpoint_leases      RTP nodes that share an endpoint by its name
    media_context                      how far texts may reach
    nodes                              what people link: sources, sinks, and between them
    webrtc                             peer connections, whose tracks are nodes
    mailbox  asyncio_thread            aiortc's thread, and the way there and back
    network  endpoint                  sessions joined with sockets
    udp  ticker  binding  timers       the two tasks that all sessions share
    session                            one RTP session, without I/O and without a clock
    outgoing  reception  latch         what it sends; what it counts; whom it listens to
    rtcp_reporter  rtcp_interval  rtcp reports, and when
    sdp  sdp_parser                    offer and answer
    mixing                             a room's frame, and who hears what of it
    jitter  playout  timeline  transit when which packet is due
    packetizer                         payloads to packets
    audio                              sound to payloads and back, at any rate
    recording                          sound and pictures to a file
    video                              pictures to packets and back
    codec_pool                         the threads of codecs
    reorder                            packets in order, for who can wait a little
    dtmf_insertion  dtmf               keys of a telephone
    media                              what events between media nodes mean
    packet  audio_level                data on the wire
    payload_format  seqnum
    statistics  drops  errors

``rtp.server`` and ``rtp.cli`` are the edge that people touch, with the commands (``rtp.commands``,
``rtp.pipes``, ``rtp.flows``, ``rtp.top``) and what they ask (``rtp.remote``).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .drops import DropReason
    from .endpoint import EndpointStatistics, RtpEndpoint
    from .errors import RtpError, SdpError, UnknownPayloadTypeError
    from .media import END, PCM, RTP, AudioFrame, EndOfStream, EndReason
    from .network import RtpNetwork
    from .packet import RtpPacket
    from .payload_format import PCMA, PCMU, STATIC_FORMATS, PayloadFormat
    from .session import RtpSession
    from .statistics import SessionStatistics

__all__ = [
    "END",
    "PCM",
    "PCMA",
    "PCMU",
    "RTP",
    "STATIC_FORMATS",
    "AudioFrame",
    "DropReason",
    "EndOfStream",
    "EndReason",
    "EndpointStatistics",
    "PayloadFormat",
    "RtpEndpoint",
    "RtpError",
    "RtpNetwork",
    "RtpPacket",
    "RtpSession",
    "SdpError",
    "SessionStatistics",
    "UnknownPayloadTypeError",
]

_HOMES = {
    "AudioFrame": "media",
    "DropReason": "drops",
    "END": "media",
    "EndOfStream": "media",
    "EndReason": "media",
    "EndpointStatistics": "endpoint",
    "PCM": "media",
    "PCMA": "payload_format",
    "PCMU": "payload_format",
    "PayloadFormat": "payload_format",
    "RTP": "media",
    "RtpEndpoint": "endpoint",
    "RtpError": "errors",
    "RtpNetwork": "network",
    "RtpPacket": "packet",
    "RtpSession": "session",
    "STATIC_FORMATS": "payload_format",
    "SdpError": "errors",
    "SessionStatistics": "statistics",
    "UnknownPayloadTypeError": "errors",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line needs few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
