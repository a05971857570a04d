"""What a token that a client shows is good for.

The token of the server is good for everything, for ever. From it others are signed that are good
for less, and not for long: JSON Web Tokens with a scope and an end. Nothing is kept of them, so
none can be taken back before its end but by giving the server another token, which ends them all.

Who has a signed one can try at leisure which token it was signed with, so that must be too long to
be found.

Sources: RFC 7519 (JWT), RFC 8725 (its traps), RFC 8693 §4.2 (the scope in it).
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import jwt
import msgspec

from rtp.errors import RtpError

from .access import ALL, Right, Rights
from .config import Token
from .token import matches

MIN_SIGNER: Final = 32
"""Characters of a token from which others are signed."""
MAX_SHOWN: Final = 4096
"""Characters of what a client shows; a signed token has some 150."""
MAX_LIFE: Final = 366 * 86400.0
"""Seconds: what nobody can take back should not last for ever."""

_ALGORITHM: Final = "HS256"
_LABEL: Final = b"eventgraph signed tokens 1"  # so that the key is good for nothing else


class _Claims(msgspec.Struct, frozen=True):
    scope: str
    exp: int  # Unix time, seconds


class WrongTokenError(RtpError):
    """A client has shown what is no token of this server; the message does not show it."""


class ExpiredTokenError(WrongTokenError):
    """It was one."""


class SigningError(RtpError):
    """A token cannot be signed as was asked; the message says what to do."""


class TokenAuthority:
    """Signs tokens, and reads them; both with the token of the server."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self._key = hmac.digest(token.encode(), _LABEL, hashlib.sha256)

    def __repr__(self) -> str:
        return "TokenAuthority(...)"

    def sign(self, rights: Iterable[Right], *, now: float, life: float) -> str:
        """A token with these rights.

        Args:
            now: Unix time (seconds).
            life: seconds until it is good for nothing.
        Raises:
            SigningError: it would have no rights, or too long a life; or the server's token is
                too short.
        """
        scope = " ".join(sorted(set(rights)))
        if not scope:
            raise SigningError(f"a token without rights is no use; choose of {', '.join(Right)}")
        if not 1 <= life <= MAX_LIFE:
            raise SigningError(f"a token can last 1 s to {MAX_LIFE / 86400:.0f} days")
        if len(self._token) < MIN_SIGNER:
            raise SigningError(
                f"the token of the server has fewer than {MIN_SIGNER} characters, and could be "
                "found from a signed one: give the server a longer one"
            )
        claims = msgspec.to_builtins(_Claims(scope, int(now + life)))
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def rights_of(self, shown: str, *, now: float) -> Rights:
        """What a token is good for.

        Args:
            now: Unix time (seconds).
        Raises:
            WrongTokenError: it is none of this server.
            ExpiredTokenError: its time is over.
        """
        if matches(self._token, shown):
            return ALL
        if len(self._token) < MIN_SIGNER or len(shown) > MAX_SHOWN:
            raise WrongTokenError("that is not the token of this server")
        try:
            read = jwt.decode(
                shown, self._key, algorithms=[_ALGORITHM], options={"verify_exp": False}
            )
            claims = msgspec.convert(read, _Claims)
        # The library reads JSON before it has checked who wrote it, and does not list what that
        # raises when it is nested deeply, or no text.
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, RecursionError):
            raise WrongTokenError("that is not the token of this server") from None
        if now >= claims.exp:
            raise ExpiredTokenError("that token has expired; ask for another")
        return frozenset(right for right in Right if right in claims.scope.split())
