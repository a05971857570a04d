"""WebRTC: peers whose tracks and data channels are nodes of the graph.

network                            the asyncio thread, and what sessions share
session                            one peer as a scope of nodes; trio's side
nodes  data_channel                its nodes
peer                               one peer connection; the asyncio side
    peer_track                         one track of it
    offer_check                        what a peer's description may cost
    rtp_statistics                     a direction of a track on the network
aiortc_private                     all that reaches into aiortc
forwarding  decoded                RTP as it is; frames
formats                            payload types in the graph

async with Graph() as graph, WebRtcNetwork(graph) as network:
    session = network.open("alice", audio="decoded", video="forwarded")
    answer = await session.accept_offer(offer)
    graph.link_up(Address("alice", "audio-source"), Address("room", "mixer"))
"""

from ..media import BINARY, KEYFRAME_REQUEST, RETRANSMIT, TEXT, VIDEO
from ..payload_format import GRAPH_FORMATS
from .data_channel import DataChannelNode
from .network import WebRtcNetwork
from .nodes import WebRtcPlayout, WebRtcSink, WebRtcSource, link_forwarding
from .rtp_statistics import RtpStatistics
from .session import TrackStatistics, WebRtcSession, WebRtcStatistics

__all__ = [
    "BINARY",
    "GRAPH_FORMATS",
    "KEYFRAME_REQUEST",
    "RETRANSMIT",
    "TEXT",
    "VIDEO",
    "DataChannelNode",
    "RtpStatistics",
    "TrackStatistics",
    "WebRtcNetwork",
    "WebRtcPlayout",
    "WebRtcSession",
    "WebRtcSink",
    "WebRtcSource",
    "WebRtcStatistics",
    "link_forwarding",
]
