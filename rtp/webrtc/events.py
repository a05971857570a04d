"""What events of WebRTC nodes mean, beside those of `rtp.media`.

VIDEO              an `av.VideoFrame` with `pts` and `time_base`; nobody changes it
KEYFRAME_REQUEST   None: from a sink back to the source that feeds it (RFC 4585 §6.3.1)
RETRANSMIT         a list of sequence numbers of the source, likewise (RFC 4585 §6.2.1)
TEXT               a str, of or for a data channel (RFC 8831)
BINARY             bytes, likewise
"""

from typing import Final

VIDEO: Final = 20
KEYFRAME_REQUEST: Final = 21
RETRANSMIT: Final = 22
TEXT: Final = 23
BINARY: Final = 24
