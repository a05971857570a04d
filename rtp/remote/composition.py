"""The composition of a running server, over HTTP."""

from typing import Final

import msgspec

from eventgraph.language import Difference

from .asking import ask, check_problem, check_status, decode_answer

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
    return decode_answer(response, msgspec.json.Decoder(Difference).decode, "a difference")
