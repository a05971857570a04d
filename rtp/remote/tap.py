"""Events of a running server as they pass, over HTTP."""

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from eventgraph import Address, TracedEvent

from .asking import RemoteError, ask_for_lines
from .seen_events import SeenEvent, TapEnd, TraceEnd

T = TypeVar("T")

_TRACE_DECODER: Final[msgspec.json.Decoder[TracedEvent | TraceEnd]] = msgspec.json.Decoder(
    TracedEvent | TraceEnd
)
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
    for line in ask_for_lines(url, "/tap", token, msgspec.json.encode(wanted)):
        yield _decode(_DECODER, line, url)


def fetch_node_trace(
    url: str, node: Address, token: str = "", *, seconds: float, rate: float
) -> Iterator[TracedEvent | TraceEnd]:
    """Have a server follow events that come to a node; see `rtp.server.node_traces`.

    Raises:
        RemoteError: nobody answers, or the server refuses; then with its reason.
    """
    end = {"scope": node.scope, "name": node.name}
    content = msgspec.json.encode({"node": end, "seconds": seconds, "rate": rate})
    for line in ask_for_lines(url, "/trace", token, content):
        yield _decode(_TRACE_DECODER, line, url)


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, url: str) -> T:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteError(f"{url} does not answer with events; is it of this version?") from error
