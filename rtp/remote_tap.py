"""Events of a running server as they pass, over HTTP."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from eventgraph import Address, TapCounts

from .remote import RemoteError, ask_for_stream

LONGEST_LINE: Final = 1 << 20
"""Bytes; a server that sends a longer one is none of ours."""


class SeenEvent(msgspec.Struct, frozen=True, tag="event"):
    """An event that was delivered `time` seconds after the tap was opened."""

    time: float
    sender: Address
    receiver: Address
    cmd: int
    object: str
    ahead: int


class TapEnd(msgspec.Struct, frozen=True, tag="end"):
    """Why it is over, and what was seen."""

    reason: str
    counts: TapCounts


_DECODER: Final[msgspec.json.Decoder[SeenEvent | TapEnd]] = msgspec.json.Decoder(SeenEvent | TapEnd)


def fetch_tap(
    url: str,
    receiver: Address,
    sender: Address | None,
    token: str = "",
    *,
    seconds: float,
    rate: float,
    length: int,
) -> Iterator[SeenEvent | TapEnd]:
    """Have a server show events; see `rtp.server.taps`. Close it to end it before its time.

    Raises:
        RemoteError: nobody answers, or the server refuses; then with its reason.
    """
    wanted: dict[str, Any] = {
        "receiver": {"scope": receiver.scope, "name": receiver.name},
        "seconds": seconds,
        "rate": rate,
        "length": length,
    }
    if sender is not None:
        wanted["sender"] = {"scope": sender.scope, "name": sender.name}
    pending = b""
    with ask_for_stream(url, "/tap", token, msgspec.json.encode(wanted)) as chunks:
        for chunk in chunks:
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > LONGEST_LINE:
                raise RemoteError(f"{url} does not answer with events; check --url")
            for line in lines:
                try:
                    yield _DECODER.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise RemoteError(
                        f"{url} does not answer with events; is it of this version?"
                    ) from error
