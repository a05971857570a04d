"""Recording events of a running server, over HTTP."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from eventgraph import Address

from .asking import TIMEOUT, ask_for_stream


def fetch_recording(
    url: str,
    links: Sequence[tuple[Address | None, Address]],
    token: str = "",
    *,
    seconds: float,
) -> Iterator[bytes]:
    """Have a server record; the file, piece by piece.

    Args:
        links: senders and receivers; without a sender all links to that receiver.
        seconds: for how long.
    Raises:
        RemoteError: nobody answers, or the server refuses; then with its reason.
    """

    def end(address: Address) -> dict[str, str]:
        return {"scope": address.scope, "name": address.name}

    wanted: list[dict[str, Any]] = [
        {"receiver": end(receiver)} | ({} if sender is None else {"sender": end(sender)})
        for sender, receiver in links
    ]
    content = msgspec.json.encode({"links": wanted, "seconds": seconds})
    with ask_for_stream(url, "/record", token, content, silence=seconds + TIMEOUT) as pieces:
        yield from pieces
