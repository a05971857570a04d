"""What a token may be good for, and what each request needs. Pure.

A route that is not named here needs the right to administer: a new one is closed until somebody
thinks of it.
"""

import re
from enum import StrEnum
from typing import Final


class Right(StrEnum):
    """What a token gives; in it they stand as its scope (RFC 6749 §3.3)."""

    PUBLISH = "publish"
    """Send media: WHIP, and with `PLAY` to be in a room."""
    PLAY = "play"
    """Receive media: WHEP, session descriptions, and with `PUBLISH` to be in a room."""
    ADMINISTER = "administer"
    """All of it, and what operators do: the graph, links, compositions, rules, flows."""


Rights = frozenset[Right]

ALL: Final[Rights] = frozenset(Right)

_PUBLISH: Final[Rights] = frozenset({Right.PUBLISH})
_PLAY: Final[Rights] = frozenset({Right.PLAY})
_BOTH: Final[Rights] = _PUBLISH | _PLAY
_ADMINISTER: Final[Rights] = frozenset({Right.ADMINISTER})

_NEEDS: Final[tuple[tuple[str, re.Pattern[str], tuple[Rights, ...]], ...]] = (
    ("POST OPTIONS", re.compile(r"/whip/[^/]+"), (_PUBLISH,)),
    ("POST OPTIONS", re.compile(r"/whep/[^/]+"), (_PLAY,)),
    ("POST OPTIONS", re.compile(r"/rooms/[^/]+"), (_BOTH,)),
    ("POST OPTIONS", re.compile(r"/rooms/[^/]+/parties/[^/]+/video"), (_PLAY,)),
    ("GET HEAD", re.compile(r"/rooms(/[^/]+(/events|/parties/[^/]+)?)?"), (_PUBLISH, _PLAY)),
    ("GET HEAD", re.compile(r"/sessions/[^/]+\.sdp"), (_PLAY,)),
    # Who has begun a session knows its secret, and nobody else.
    ("PATCH DELETE OPTIONS", re.compile(r"/sessions/[^/]+"), (_PUBLISH, _PLAY)),
)


def needed(method: str, path: str) -> tuple[Rights, ...]:
    """What a request needs: all rights of one of these sets."""
    for methods, pattern, rights in _NEEDS:
        if method in methods.split() and pattern.fullmatch(path):
            return rights
    return (_ADMINISTER,)


def is_allowed(granted: Rights, method: str, path: str) -> bool:
    """Whether these rights do for a request."""
    if Right.ADMINISTER in granted:
        return True
    return any(rights <= granted for rights in needed(method, path))
