"""What is looked at in a peer's description before aiortc sees it.

aiortc's parser and its negotiation take time and memory with the square of some lines (a
feedback line for all codecs is kept once for each), and stumble over groups that name
sections which are not there. So each kind of line has a bound here, far above what browsers
send, and a description is read once, in time that grows with its length.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from ..errors import SdpError

MAX_MEDIA: Final = 8
"""Media sections: each costs sockets, tasks and nodes."""
MAX_LINE: Final = 4096
"""Characters; a list of profiles may be long."""
MAX_CANDIDATES: Final = 64
"""Of a peer in all, those that trickle in included: each is checked against each of ours."""
MAX_NAMES: Final = 8
"""Candidates that are mDNS names: each is asked for by multicast."""
MAX_OF_SECTION: Final = {
    "rtpmap": 128,
    "fmtp": 128,
    "rtcp-fb": 256,
    "rtcp-fb:*": 16,
    "extmap": 64,
    "ssrc": 64,
    "ssrc-group": 16,
}
"""Lines of one attribute in a media section. Chromium offers some 40 formats of video."""

KINDS: Final = frozenset({"audio", "video", "application"})
"""Of media sections: for another one aiortc has no transport, and does not notice."""

_ATTRIBUTE: Final = re.compile(r"a=([^:\s]+)(?::(\S+))?")


def check_description(text: str) -> list[str]:
    """Refuse what no browser sends.

    Args:
        text: SDP of a peer.
    Returns:
        the kinds of its media sections, in their order.
    Raises:
        SdpError: it has too much of something, a section of an unknown kind, or a group of sections
            that are not there.
    """
    kinds: list[str] = []
    mids: dict[str, int] = {}  # and their sections
    bundled: set[str] = set()
    seen: Counter[str] = Counter()
    for line in re.split(r"\r?\n", text):
        if len(line) > MAX_LINE:
            raise SdpError(f"a line has {len(line)} characters, more than {MAX_LINE}")
        if line.startswith("m="):
            kinds.append(line[2:].partition(" ")[0])
            if kinds[-1] not in KINDS:
                raise SdpError(f"a section of {kinds[-1]!r}: offer {', '.join(sorted(KINDS))}")
            seen.clear()
        found = _ATTRIBUTE.match(line)
        if found is None:
            continue
        name, value = found.groups("")
        match name:
            case "mid" if value in mids:
                raise SdpError(f"a=mid:{value} is there twice")
            case "mid" if not kinds or len(kinds) in mids.values():  # RFC 5888 §4
                raise SdpError(f"a=mid:{value}: each media section has one, and nothing else")
            case "mid":
                mids[value] = len(kinds)
            case "group" if value == "BUNDLE":
                bundled.update(line.split()[1:])
            case _:
                _count(seen, name, value)
    if not 1 <= len(kinds) <= MAX_MEDIA:
        raise SdpError(f"{len(kinds)} media sections: offer 1 to {MAX_MEDIA}")
    if missing := bundled - mids.keys():
        raise SdpError(f"a=group:BUNDLE names {missing.pop()!r}, and no section has that a=mid")
    return kinds


def check_candidates(lines: Iterable[str], before: int = 0) -> int:
    """Refuse too many candidates.

    Args:
        lines: candidates, with or without ``a=candidate:``.
        before: those that the peer has sent so far.
    Returns:
        how many it has sent now.
    Raises:
        SdpError: there are too many.
    """
    names = 0
    for line in lines:
        before += 1
        names += ".local " in line
    if before > MAX_CANDIDATES or names > MAX_NAMES:
        raise SdpError(
            f"too many candidates: {MAX_CANDIDATES} are taken, {MAX_NAMES} of them mDNS names"
        )
    return before


def is_reachable(candidate: str) -> bool:
    """Whether a candidate may be checked: not loopback, where no peer of ours is, nor multicast.

    Args:
        candidate: the value of `a=candidate`.
    """
    fields = candidate.split()
    if len(fields) < 5:
        return True  # aiortc says what is wrong with it
    try:
        address = ipaddress.ip_address(fields[4])
    except ValueError:
        return True  # a name
    return not (address.is_loopback or address.is_multicast or address.is_unspecified)


def without_unreachable(text: str) -> str:
    """A description without the candidates that are not to be checked."""
    prefix = "a=candidate:"
    return "".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(prefix) or is_reachable(line[len(prefix) :])
    )


def _count(seen: Counter[str], name: str, value: str) -> None:
    keys = [name, "rtcp-fb:*"] if name == "rtcp-fb" and value == "*" else [name]
    for key in keys:
        seen[key] += 1
        if key in MAX_OF_SECTION and seen[key] > MAX_OF_SECTION[key]:
            raise SdpError(f"more than {MAX_OF_SECTION[key]} lines a={key} in a media section")
