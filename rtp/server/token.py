"""The bearer token of the HTTP edge: where it comes from, and whether it is the right one.

The environment wins over the file of settings: a secret is better kept out of a file that
people copy. It is never printed: `Token` does not show itself, in no repr and in no message.
"""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .config import HttpConfig, Token
from .errors import StartError

VARIABLE: Final = "EVENTGRAPH_TOKEN"
"""Of the environment; the command line reads it too when it asks a server."""

_HOW: Final = (
    f"set the environment variable {VARIABLE}, http.token_file or http.token; "
    'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
)


def find_token(config: HttpConfig, environ: Mapping[str, str] = os.environ) -> Token | None:
    """The token that clients must show; None: there is none.

    Raises:
        StartError: it cannot be read or used, or two places hold one.
    """
    if text := environ.get(VARIABLE, ""):
        return _parse(text, VARIABLE)
    if config.token and config.token_file:
        raise StartError("http.token and http.token_file are both set; keep one of them")
    if config.token_file:
        path = Path(config.token_file)
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise StartError(f"http.token_file {str(path)!r} cannot be read: {error}") from error
        return _parse(text, f"http.token_file {str(path)!r}")
    return config.token or None


def needed_token(
    config: HttpConfig, host: str, environ: Mapping[str, str] = os.environ
) -> Token | None:
    """As `find_token`, for an edge that listens at `host`.

    Raises:
        StartError: there is none, and others than this machine can reach that address.
    """
    token = find_token(config, environ)
    if token is None and not is_loopback(host):
        raise StartError(f"HTTP on {host} can be reached from elsewhere and needs a token: {_HOW}")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a numeric address."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def matches(token: Token, shown: str) -> bool:
    """Whether a client showed the token; takes as long for any answer."""
    ours, theirs = (hashlib.sha256(text.encode(errors="replace")) for text in (token, shown))
    return hmac.compare_digest(ours.digest(), theirs.digest())


def _parse(text: str, where: str) -> Token:
    try:
        return Token(text)
    except ValueError as error:
        raise StartError(f"{where}: {error}") from None
