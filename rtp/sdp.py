"""SDP offers and answers for plain RTP.

    theirs    text -> parse_offer -> Offer -> create_answer -> Answer, with the text
    ours      create_offer -> text ... their answer -> parse_offer

Parsing (`sdp_parser`) does not go through `aiortc.sdp.SessionDescription`. That is made
for WebRTC, and for plain RTP it does not serve: it fails on valid input (`a=fmtp` for a
payload type without `a=rtpmap`, a number of ports in `m=`), loses what we need (`a=ptime`,
the direction at session level), and answers junk with five kinds of exception, none of
which has the line. Tests hold this parser against it where both can read a text.

Source: RFC 8866 (SDP), RFC 3264 (offer/answer), RFC 3605 (a=rtcp), RFC 5761 (a=rtcp-mux),
RFC 8285 (a=extmap).
"""

import ipaddress
import secrets
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from .audio_level import AUDIO_LEVEL_URI, MAX_ELEMENT_ID
from .errors import SdpError
from .media_description import Direction, MediaOffer, Offer
from .payload_format import PayloadFormat
from .sdp_parser import parse_offer

__all__ = [
    "AUDIO_LEVEL_URI",
    "Answer",
    "Direction",
    "MediaOffer",
    "Offer",
    "create_answer",
    "create_offer",
    "number_of",
    "parse_offer",
]

PLAIN_RTP: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
"""Transport protocols of `m=` that are neither encrypted nor anything but RTP over UDP."""

_SENDS: Final = frozenset({"sendrecv", "sendonly"})
_RECEIVES: Final = frozenset({"sendrecv", "recvonly"})


class Answer(msgspec.Struct, frozen=True):
    """What was answered to an offer.

    Attributes:
        text: to send back.
        media: the m= line that was taken, None if all were rejected.
        formats: agreed on, by payload type, the preferred one first; empty if rejected.
        direction: as we see it: what we send and receive.
        extensions: URIs of the header extensions agreed on, by their number.
    """

    text: str
    media: MediaOffer | None
    formats: dict[int, PayloadFormat]
    direction: Direction
    extensions: dict[int, str] = {}

    @property
    def audio_level_id(self) -> int | None:
        """The number of the extension with the audio level (RFC 6464); None: not agreed on."""
        return number_of(AUDIO_LEVEL_URI, self.extensions)


def number_of(uri: str, extensions: Mapping[int, str]) -> int | None:
    """The number of a header extension in what was agreed on; None if it is not there."""
    return next((number for number, known in extensions.items() if known == uri), None)


def create_offer(
    address: str,
    port: int,
    formats: Mapping[int, PayloadFormat],
    *,
    kind: str = "audio",
    direction: Direction = "sendrecv",
    rtcp_mux: bool = False,
    ptime: float | None = None,
    extensions: Mapping[int, str] = MappingProxyType({}),
    name: str = "eventgraph",
    session_id: int | None = None,
) -> str:
    """Describe where and how we take media; also what `ffmpeg -i x.sdp` listens by.

    Args:
        address: IPv4 or IPv6, numeric.
        port: of RTP; RTCP is on the one above, or on the same with rtcp_mux.
        formats: by payload type, the preferred one first.
        ptime: milliseconds of media in a packet.
        extensions: URIs of header extensions by number, 1..14, such as `AUDIO_LEVEL_URI`.
        session_id: None draws one.
    Raises:
        SdpError: a value that cannot stand in a description.
    """
    _check_port(port)
    for number in extensions:
        if not 1 <= number <= MAX_ELEMENT_ID:
            raise SdpError(f"header extension {number} is outside 1..{MAX_ELEMENT_ID}")
    if not formats:
        raise SdpError("an offer needs at least one format: give a payload type and its format")
    return _text(
        _session_lines(address, name, session_id)
        + _media_lines(
            kind=kind,
            port=port,
            protocol="RTP/AVP",
            formats=formats,
            direction=direction,
            rtcp_mux=rtcp_mux,
            ptime=ptime,
            extensions=extensions,
        )
    )


def create_answer(
    offer: Offer,
    address: str,
    port: int,
    supported: Sequence[PayloadFormat],
    *,
    direction: Direction = "sendrecv",
    rtcp_mux: bool = True,
    extensions: Collection[str] = (),
    name: str = "eventgraph",
    session_id: int | None = None,
) -> Answer:
    """Take the first m= line of plain RTP that has a format of ours, and reject the others.

    Args:
        address, port: where we take media, as in `create_offer`.
        supported: our formats; the offer's order and payload type numbers are kept.
        direction: what we are able to do.
        rtcp_mux: whether we can share a port; done if the other side offers it.
        extensions: URIs of the header extensions that we understand, such as
            `AUDIO_LEVEL_URI`; the offer's numbers are kept.
    Returns:
        the answer, in which an m= line that is not taken has port 0 (RFC 3264 §6).
    Raises:
        SdpError: a value of ours that cannot stand in a description.
    """
    _check_port(port)
    lines = _session_lines(address, name, session_id)
    taken: MediaOffer | None = None
    formats: dict[int, PayloadFormat] = {}
    understood: dict[int, str] = {}
    answered: Direction = "inactive"
    for media in offer.media:
        agreed = {} if taken else _agree(media, supported)
        if not agreed:
            lines.append(f"m={media.kind} 0 {media.protocol} {' '.join(media.format_list)}")
            continue
        taken, formats = media, agreed
        understood = {
            number: uri
            for number, uri in media.extensions.items()
            if uri in extensions and number <= MAX_ELEMENT_ID
        }
        answered = _answer_direction(media.direction, direction)
        lines += _media_lines(
            kind=media.kind,
            port=port,
            protocol=media.protocol,
            formats=agreed,
            direction=answered,
            rtcp_mux=rtcp_mux and media.rtcp_mux,
            ptime=media.ptime,
            extensions=understood,
        )
    return Answer(_text(lines), taken, formats, answered, understood)


def _agree(media: MediaOffer, supported: Sequence[PayloadFormat]) -> dict[int, PayloadFormat]:
    if not media.address[1] or media.protocol not in PLAIN_RTP:
        return {}
    return {
        payload_type: offered
        for payload_type, offered in media.formats.items()
        if any(offered.is_same_encoding(ours) for ours in supported)
    }


def _answer_direction(offered: Direction, able: Direction) -> Direction:
    """What we do of what we are able to: we send if they receive, and the reverse."""
    sends = offered in _RECEIVES and able in _SENDS
    receives = offered in _SENDS and able in _RECEIVES
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else "inactive"


def _session_lines(address: str, name: str, session_id: int | None) -> list[str]:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise SdpError(f"{address!r} is no IP address: resolve the host name first") from error
    if session_id is None:
        session_id = secrets.randbits(62)
    # "s=" must not be empty; a space is what RFC 8866 §5.3 asks for then.
    return [
        "v=0",
        f"o=- {session_id} 1 IN IP{version} {address}",
        f"s={name or ' '}",
        f"c=IN IP{version} {address}",
        "t=0 0",
    ]


def _media_lines(
    *,
    kind: str,
    port: int,
    protocol: str,
    formats: Mapping[int, PayloadFormat],
    direction: Direction,
    rtcp_mux: bool,
    ptime: float | None,
    extensions: Mapping[int, str],
) -> list[str]:
    lines = [f"m={kind} {port} {protocol} {' '.join(map(str, formats))}"]
    for payload_type, payload_format in formats.items():
        channels = f"/{payload_format.channels}" if payload_format.channels > 1 else ""
        lines.append(
            f"a=rtpmap:{payload_type} {payload_format.name}/{payload_format.clock_rate}{channels}"
        )
        if payload_format.parameters is not None:
            lines.append(f"a=fmtp:{payload_type} {payload_format.parameters}")
    lines += [f"a=extmap:{number} {uri}" for number, uri in extensions.items()]
    lines.append(f"a={direction}")
    if rtcp_mux:
        lines.append("a=rtcp-mux")
    if ptime is not None:
        lines.append(f"a=ptime:{ptime:g}")
    return lines


def _check_port(port: int) -> None:
    if not 0 < port < 1 << 16:
        raise SdpError(f"port {port} is outside 1..65535")


def _text(lines: list[str]) -> str:
    for line in lines:
        if any(character in line for character in "\r\n\0"):
            raise SdpError(f"{line!r} has a line break or NUL within: remove it")
    return "\r\n".join(lines) + "\r\n"
