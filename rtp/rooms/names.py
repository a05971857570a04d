"""What rooms, streams and parties may be called: names end up in scopes, pages and logs."""

import re
from typing import Final

from ..errors import RtpError

MAX_NAME: Final = 64

_SLUG: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")


class UnusableNameError(RtpError):
    """A name cannot be used; the message says which can."""


def check_slug(name: str) -> str:
    """A name of a room or a stream, as it is.

    Raises:
        UnusableNameError: it is none.
    """
    if not _SLUG.fullmatch(name):
        raise UnusableNameError(
            f"{name[:MAX_NAME]!r} is no name for it: "
            f"use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -, beginning with a letter or a digit"
        )
    return name


def check_party_name(name: str) -> str:
    """What a person is called, without spaces around it.

    Raises:
        UnusableNameError: it is none.
    """
    name = name.strip()
    # "." and ".." would be something else in a path.
    usable = name.isprintable() and "/" not in name and name.strip(".")
    if not 1 <= len(name) <= MAX_NAME or not usable:
        raise UnusableNameError(
            f"{name[:MAX_NAME]!r} is no name for a party: "
            f"use 1 to {MAX_NAME} printable characters without '/'"
        )
    return name
