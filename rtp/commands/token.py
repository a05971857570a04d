"""``eventgraph token``: a token that is good for less than the server's, and not for long."""

import re
import time
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from rtp.errors import RtpError

RightName = Literal["publish", "play", "administer"]

_LIFE: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TokenCommandError(RtpError):
    """There is nothing to sign with, or the command line makes no sense."""


def token(
    *,
    scope: Annotated[tuple[RightName, ...], Parameter(negative=())],
    expires: str = "1h",
    config: Annotated[Path | None, Parameter(alias="-c")] = None,
) -> int:
    """Print a token for a server, signed with the token of that server.

    It needs no server. The server's own token is read as the server reads it: from the environment
    variable EVENTGRAPH_TOKEN, or the file of settings; it must have 32 characters or more.
    A signed token cannot be taken back before it expires, but by giving the server another token.

    Parameters
    ----------
    scope
        What it is good for: publish (WHIP), play (WHEP), both to be in a room; administer: all.
        Repeat it for more than one.
    expires
        For how long, such as 90s, 30m, 1h or 7d.
    config
        Settings of the server, a TOML file.
    """
    from rtp.server.access import Right
    from rtp.server.authority import TokenAuthority
    from rtp.server.config import Config
    from rtp.server.config_file import load_config
    from rtp.server.token import VARIABLE, find_token

    settings = Config() if config is None else load_config(config)
    found = find_token(settings.http)
    if found is None:
        raise TokenCommandError(
            f"there is no token to sign with: set {VARIABLE} to that of the server, "
            "or name its settings with --config"
        )
    rights = [Right(name) for name in scope]
    print(TokenAuthority(found).sign(rights, now=time.time(), life=_seconds(expires)))
    return 0


def _seconds(text: str) -> float:
    found = _LIFE.fullmatch(text)
    if found is None:
        raise TokenCommandError(f"--expires: expected such as 90s, 30m, 1h or 7d, got {text!r}")
    return float(int(found[1]) * _SECONDS[found[2]])
