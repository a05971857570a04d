"""What a session description says, as data.

Source: RFC 8866 §5.
"""

from typing import Literal

import msgspec

from .payload_format import PayloadFormat

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
"""As seen by whoever wrote the description."""


class MediaOffer(msgspec.Struct, frozen=True):
    """One m= line and what belongs to it.

    Attributes:
        kind: "audio", "video", ...
        protocol: such as "RTP/AVP".
        format_list: the formats of the m= line as they stand there.
        address: (host, port) to send RTP to; port 0: the m= line is rejected, or unused.
        rtcp_address: (host, port) to send RTCP to when not multiplexed.
        rtcp_mux: RTCP may share the RTP port.
        formats: by payload type, in the order of preference; unknown static types are left out.
        direction: as the other side sees it.
        ptime: wanted milliseconds of media in a packet; None if it does not say.
        extensions: URIs of header extensions that both sides may send, by their number
            (RFC 8285 §5).
    """

    kind: str
    protocol: str
    format_list: tuple[str, ...]
    address: tuple[str, int]
    rtcp_address: tuple[str, int]
    rtcp_mux: bool
    formats: dict[int, PayloadFormat]
    direction: Direction
    ptime: float | None
    extensions: dict[int, str] = {}


class Offer(msgspec.Struct, frozen=True):
    """A session description: its m= lines, in their order. An answer has the same form."""

    media: tuple[MediaOffer, ...]
