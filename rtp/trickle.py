"""Reads the SDP fragments by which candidates trickle in.

Source: RFC 8840 §9 (application/trickle-ice-sdpfrag), RFC 9725 §4.3.
"""

from typing import Final

import msgspec

from .errors import SdpError

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"
MAX_CANDIDATES: Final = 64
"""In one fragment: each costs a check against every address of ours."""


class Candidate(msgspec.Struct, frozen=True):
    """One candidate.

    Attributes:
        mid: of its media section; None: the fragment does not say.
        text: the value of `a=candidate`; "" says that there will be no more.
    """

    mid: str | None
    text: str


def has_ice(description: str) -> bool:
    """Whether a description is of a session with ICE."""
    return any(line.startswith("a=ice-ufrag:") for line in _lines(description))


def parse_fragment(text: str) -> list[Candidate]:
    """The candidates of a fragment, in their order.

    Raises:
        SdpError: it has a line that is none, or too many candidates.
    """
    mid: str | None = None
    candidates: list[Candidate] = []
    for number, line in enumerate(_lines(text), 1):
        if line[1:2] != "=" or not "a" <= line[:1] <= "z":
            raise SdpError(f"line {number}: {line[:80]!r} is none of SDP; write <letter>=<value>")
        name, _, value = line[2:].partition(":")
        if line.startswith("m="):
            mid = None
        elif not line.startswith("a="):
            continue
        elif name == "mid":
            mid = value
        elif name == "candidate":
            candidates.append(Candidate(mid, value))
        elif name == "end-of-candidates":
            candidates.append(Candidate(mid, ""))
        if len(candidates) > MAX_CANDIDATES:
            raise SdpError(f"line {number}: more than {MAX_CANDIDATES} candidates")
    return candidates


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
