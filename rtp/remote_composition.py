"""The composition of a running server, over HTTP."""

from typing import Final

import msgspec

from eventgraph.language import Difference

from .remote import RemoteError, ask, check_problem, check_status

TIMEOUT: Final = 60.0
"""Seconds: nodes may take some to enter and to leave, and changes wait for each other."""


def put_composition(
    url: str, text: str, token: str = "", *, check: bool = False, only_if_empty: bool = False
) -> Difference:
    """Have a server compose a text.

    Args:
        check: change nothing, only say what would change.
        only_if_empty: refuse if the server has a composition already.
    Returns:
        What was changed, or would be.
    Raises:
        RemoteError: nobody answers, or the server refuses; then with its reason.
    """
    headers = {"content-type": "text/plain; charset=utf-8"}
    if only_if_empty:
        headers["if-none-match"] = "*"
    response = ask(
        "PUT",
        url,
        "/composition",
        token,
        params={"check": "1"} if check else None,
        headers=headers,
        content=text.encode(errors="replace"),
        timeout=TIMEOUT,
    )
    check_problem(response)
    check_status(response)
    try:
        return msgspec.json.decode(response.content, type=Difference)
    except msgspec.DecodeError as error:
        raise RemoteError(
            f"{response.url.copy_with(query=None)} does not answer with a difference; "
            "is it an eventgraph server of this version?"
        ) from error
