"""The media server as Prometheus sees it, beside `eventgraph.metrics`; needs the extra ``rtp``.

::

    network   sessions of plain RTP: packets, loss, jitter, round trip
    webrtc    sessions of WebRTC: packets between their threads
    sound     jitter buffers, wherever they are in the graph
    calls     rooms, broadcasts, and who may still come
"""
