"""What the JSON gateway of etcd is asked, and what it answers.

64-bit numbers are strings, bytes are base64, and what is zero, empty or false is left out.
Each answer has a header: what has none is not from an etcd.

Source: etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, version 3.4.
"""

from typing import Any, Generic, TypeVar

import msgspec

from eventgraph.pipes.errors import RegistryError

Request = dict[str, Any]


class Header(msgspec.Struct, frozen=True):
    cluster_id: int
    revision: int = 0


class KeyValue(msgspec.Struct, frozen=True):
    key: bytes = b""
    value: bytes = b""
    lease: int = 0


class RangeAnswer(msgspec.Struct, frozen=True):
    header: Header
    kvs: list[KeyValue] = []
    more: bool = False


class TxnRange(msgspec.Struct, frozen=True):
    kvs: list[KeyValue] = []


class TxnResponse(msgspec.Struct, frozen=True):
    response_range: TxnRange | None = None


class TxnAnswer(msgspec.Struct, frozen=True):
    header: Header
    succeeded: bool = False
    responses: list[TxnResponse] = []


class HeaderAnswer(msgspec.Struct, frozen=True):
    header: Header


class TokenAnswer(msgspec.Struct, frozen=True):
    header: Header
    token: str = ""


class LeaseAnswer(msgspec.Struct, frozen=True):
    header: Header
    id: int = msgspec.field(name="ID", default=0)
    ttl: int = msgspec.field(name="TTL", default=0)  # seconds


class StreamError(msgspec.Struct, frozen=True):
    message: str = ""
    http_code: int = 500


class LeaseLine(msgspec.Struct, frozen=True):
    result: LeaseAnswer | None = None
    error: StreamError | None = None


class Event(msgspec.Struct, frozen=True):
    kv: KeyValue
    type: str = "PUT"  # or "DELETE"


class WatchAnswer(msgspec.Struct, frozen=True):
    header: Header
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False  # more of the same revision follows
    events: list[Event] = []


class WatchLine(msgspec.Struct, frozen=True):
    result: WatchAnswer | None = None
    error: StreamError | None = None


class Refused(msgspec.Struct, frozen=True):
    """The body of an answer that is not 200; the gateway's own parser leaves ``message`` out."""

    error: str
    message: str = ""


T = TypeVar("T")


class Method(Generic[T]):
    """A call of the gateway: its path, and what its answers look like."""

    __slots__ = ("answer", "path")

    def __init__(self, path: str, answer: type[T]) -> None:
        self.path = path
        self.answer = msgspec.json.Decoder(answer, strict=False)


RANGE = Method("/v3/kv/range", RangeAnswer)
PUT = Method("/v3/kv/put", HeaderAnswer)
TXN = Method("/v3/kv/txn", TxnAnswer)
GRANT = Method("/v3/lease/grant", LeaseAnswer)
KEEP_ALIVE = Method("/v3/lease/keepalive", LeaseLine)
REVOKE = Method("/v3/lease/revoke", HeaderAnswer)
AUTHENTICATE = Method("/v3/auth/authenticate", TokenAnswer)
WATCH = Method("/v3/watch", WatchLine)


def key_of(text: str) -> bytes:
    """A key or a prefix as bytes.

    Raises:
        RegistryError: it cannot be written as UTF-8.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RegistryError(f"the key {text!r} has half a surrogate pair; use real text") from None


def range_of(prefix: bytes) -> Request:
    """All keys that begin with a prefix, as ``key`` and ``range_end``, which is excluded."""
    stem = prefix.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"  # b"\0": to the last of all keys
    return {"key": prefix or b"\0", "range_end": end}


def create_if_absent(key: bytes, value: bytes, lease: int) -> Request:
    """Put a key if there is none; else say what stands there."""
    return {
        "compare": [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}],
        "success": [{"request_put": {"key": key, "value": value, "lease": str(lease)}}],
        "failure": [{"request_range": {"key": key}}],
    }


def delete_if_leased(key: bytes, lease: int) -> Request:
    """Remove a key if it stands under a lease."""
    return {
        "compare": [{"key": key, "target": "LEASE", "result": "EQUAL", "lease": str(lease)}],
        "success": [{"request_delete_range": {"key": key}}],
    }


def watch_from(prefix: bytes, revision: int) -> Request:
    """All changes below a prefix since a revision, large ones in fragments."""
    return {
        "create_request": {
            **range_of(prefix),
            "start_revision": str(revision),
            "progress_notify": True,
            "fragment": True,
        }
    }
