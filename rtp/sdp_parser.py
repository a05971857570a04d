"""Reads session descriptions; see `sdp` for what comes of it, and why not by aiortc.

A description is read line by line into a state, and every line that matters has one
method that reads it. All of them complain in one way: `SdpError` with the line.

Source: RFC 8866 §5 and §9.
"""

import re
from typing import Final, NoReturn, cast, get_args

from .errors import SdpError
from .media_description import Direction, MediaOffer, Offer
from .payload_format import STATIC_FORMATS, PayloadFormat

MAX_SIZE: Final = 64 * 1024
"""Characters; far above any offer of plain RTP, and a bound on the work of reading one."""

MAX_EXTENSION: Final = 255
"""Greatest number of a header extension that can stand in a packet (RFC 8285 §4.3)."""

_TOKEN = r"[!#-'*+\-.0-9A-Z^-~]+"  # RFC 8866 §9
_LINE = re.compile(r"([a-z])=([^\r\0]*)", re.ASCII)
_MEDIA = re.compile(
    rf"({_TOKEN}) (\d{{1,5}})(?:/\d{{1,5}})? ({_TOKEN}(?:/{_TOKEN})*)((?: \S+)+) *", re.ASCII
)
_CONNECTION = re.compile(r"IN IP[46] ([^\s/]+)(?:/\d+){0,2} *", re.ASCII)
_RTPMAP = re.compile(rf"(\d{{1,3}}) +({_TOKEN})/(\d{{1,9}})(?:/(\d{{1,3}}))? *", re.ASCII)
_FMTP = re.compile(r"(\d{1,3}) +(.+)", re.ASCII)
_RTCP = re.compile(r"(\d{1,5})(?: IN IP[46] (\S+))? *", re.ASCII)
_PTIME = re.compile(r"(\d{1,5}(?:\.\d{1,6})?) *", re.ASCII)
_EXTMAP = re.compile(r"(\d{1,5})(?:/(\w+))? +(\S+)(?: .*)?", re.ASCII)
_DIRECTIONS: Final = frozenset(get_args(Direction))


def parse_offer(text: str, *, max_size: int = MAX_SIZE) -> Offer:
    """Read a session description: an offer, or an answer to ours.

    Args:
        text: lines that end in CRLF or LF.
        max_size: characters.
    Returns:
        its m= lines, at least one.
    Raises:
        SdpError: with the line, and what was expected there.
    """
    if len(text) > max_size:
        raise SdpError(f"the description has {len(text)} characters, more than {max_size}")
    reader = _Reader()
    lines = re.split(r"\r?\n", text)
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        reader.read(number, line)
    return reader.finish()


class _Media:
    """An m= line while the lines after it are read."""

    def __init__(self, number: int, line: str, direction: Direction, ptime: float | None) -> None:
        self.number = number
        self.line = line
        self.kind = ""
        self.port = 0
        self.protocol = ""
        self.format_list: tuple[str, ...] = ()
        self.host: str | None = None
        self.rtcp: tuple[str | None, int] | None = None
        self.rtcp_mux = False
        self.formats: dict[int, PayloadFormat] = {}
        self.parameters: dict[int, str] = {}
        self.direction = direction
        self.ptime = ptime
        self.extensions: dict[int, str] = {}

    @property
    def is_rtp(self) -> bool:
        return self.protocol.startswith("RTP/")


class _Reader:
    def __init__(self) -> None:
        self._number = 0
        self._line = ""
        self._host: str | None = None
        self._direction: Direction = "sendrecv"
        self._ptime: float | None = None
        self._extensions: dict[int, str] = {}
        self._media: list[_Media] = []

    def read(self, number: int, line: str) -> None:
        self._number, self._line = number, line
        kind, value = self._match(_LINE, line, "<letter>=<value>").groups()
        if (number == 1) != (kind == "v") or (kind == "v" and value.strip() != "0"):
            self._fail("v=0 as the first line, and only there")
        if kind == "m":
            self._read_media(value)
        elif kind == "c":
            self._read_connection(value)
        elif kind == "a":
            name, _, argument = value.partition(":")
            self._read_attribute(name.strip(), argument.strip())

    def finish(self) -> Offer:
        if not self._media:
            raise SdpError("the description has no m= line: expected at least one")
        return Offer(tuple(self._finish_media(media) for media in self._media))

    def _read_media(self, value: str) -> None:
        match = self._match(_MEDIA, value, "m=<media> <port> <protocol> <format> ...")
        media = _Media(self._number, self._line, self._direction, self._ptime)
        media.kind = match[1]
        media.port = self._port(match[2])
        media.protocol = match[3]
        media.format_list = tuple(match[4].split())
        if media.is_rtp:
            for payload_type in media.format_list:
                self._payload_type(payload_type)
        self._media.append(media)

    def _read_connection(self, value: str) -> None:
        host = self._match(_CONNECTION, value, "c=IN IP4 <address> or c=IN IP6 <address>")[1]
        if self._media:
            self._media[-1].host = host
        else:
            self._host = host

    def _read_attribute(self, name: str, argument: str) -> None:
        if name in _DIRECTIONS:
            direction = cast(Direction, name)
            if self._media:
                self._media[-1].direction = direction
            else:
                self._direction = direction
        elif name == "ptime":
            ptime = float(self._match(_PTIME, argument, "a=ptime:<milliseconds>")[1])
            if self._media:
                self._media[-1].ptime = ptime
            else:
                self._ptime = ptime
        elif name == "extmap":
            self._read_extension(argument)
        elif self._media and self._media[-1].is_rtp:
            self._read_rtp_attribute(self._media[-1], name, argument)

    def _read_rtp_attribute(self, media: _Media, name: str, argument: str) -> None:
        if name == "rtpmap":
            match = self._match(
                _RTPMAP, argument, "a=rtpmap:<payload type> <name>/<clock rate>[/<channels>]"
            )
            clock_rate, channels = int(match[3]), int(match[4] or 1)
            if not clock_rate or not channels:
                self._fail("a clock rate and a number of channels above zero")
            media.formats[self._payload_type(match[1])] = PayloadFormat(
                match[2], clock_rate, channels
            )
        elif name == "fmtp":
            match = self._match(_FMTP, argument, "a=fmtp:<payload type> <parameters>")
            media.parameters[self._payload_type(match[1])] = match[2].strip()
        elif name == "rtcp":
            match = self._match(_RTCP, argument, "a=rtcp:<port> [IN IP4 <address>]")
            media.rtcp = (match[2], self._port(match[1]))
        elif name == "rtcp-mux":
            media.rtcp_mux = True

    def _read_extension(self, argument: str) -> None:
        match = self._match(_EXTMAP, argument, "a=extmap:<number>[/<direction>] <URI>")
        number, direction = int(match[1]), match[2] or "sendrecv"
        if direction not in _DIRECTIONS:
            self._fail("sendrecv, sendonly, recvonly or inactive as the direction")
        # One number is one extension; those from 4096 on are for the answer to choose from.
        if direction == "sendrecv" and 1 <= number <= MAX_EXTENSION:
            (self._media[-1].extensions if self._media else self._extensions)[number] = match[3]

    def _finish_media(self, media: _Media) -> MediaOffer:
        self._number, self._line = media.number, media.line
        host = media.host or self._host
        if host is None:
            if media.port:
                self._fail("a c= line for this media, or one for the whole session")
            host = ""
        formats: dict[int, PayloadFormat] = {}
        for payload_type in map(int, media.format_list if media.is_rtp else ()):
            known = media.formats.get(payload_type) or STATIC_FORMATS.get(payload_type)
            if known is not None:
                formats[payload_type] = PayloadFormat(
                    known.name, known.clock_rate, known.channels, media.parameters.get(payload_type)
                )
        rtcp_host, rtcp_port = media.rtcp or (None, media.port + 1 if media.port else 0)
        return MediaOffer(
            kind=media.kind,
            protocol=media.protocol,
            format_list=media.format_list,
            address=(host, media.port),
            rtcp_address=(rtcp_host or host, rtcp_port),
            rtcp_mux=media.rtcp_mux,
            formats=formats,
            direction=media.direction,
            ptime=media.ptime,
            extensions=(self._extensions | media.extensions) if media.is_rtp else {},
        )

    def _payload_type(self, text: str) -> int:
        if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 127:
            self._fail("payload types from 0 to 127")
        return int(text)

    def _port(self, text: str) -> int:
        if int(text) >= 1 << 16:
            self._fail("a port from 0 to 65535")
        return int(text)

    def _match(self, pattern: re.Pattern[str], text: str, expected: str) -> re.Match[str]:
        match = pattern.fullmatch(text)
        if match is None:
            self._fail(expected)
        return match

    def _fail(self, expected: str) -> NoReturn:
        raise SdpError(f"line {self._number}: expected {expected}, got {self._line[:100]!r}")
