"""Reading all that stands below a prefix, at one instant, in pages."""

from collections.abc import Iterable
from typing import Final

import trio

from eventgraph.pipes.errors import RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.messages import RANGE, Event, KeyValue, Request, key_of, range_of
from eventgraph.pipes.etcd.refusal import AnswerTooLargeError, CompactedError

PAGE: Final = 1024
"""Keys in one answer; halved while the answer is too large."""

MAX_KEYS: Final = 100_000
MAX_SIZE: Final = 256 << 20
"""Keys, and bytes of keys and values, below one prefix: more is a mistake in the prefix."""


class Entries:
    """What stands below a prefix at a revision. Keys that are no UTF-8 are none of ours."""

    __slots__ = ("_prefix", "_size", "revision", "values")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._size = 0
        self.values: dict[str, bytes] = {}
        self.revision = 0

    def put(self, kvs: Iterable[KeyValue]) -> None:
        """Add keys, or change them.

        Raises:
            RegistryError: that makes too many.
        """
        for kv in kvs:
            if (key := _text(kv.key)) is None:
                continue
            before = self.values.get(key)
            self._size += len(kv.value) + (len(kv.key) if before is None else -len(before))
            self.values[key] = kv.value
        if len(self.values) > MAX_KEYS or self._size > MAX_SIZE:
            raise RegistryError(
                f"more than {MAX_KEYS} keys or {MAX_SIZE} bytes stand below {self._prefix!r}: "
                "use a longer prefix"
            )

    def apply(self, events: Iterable[Event]) -> None:
        """Do what a watch says, in order. Raises as `put`."""
        for event in events:
            if event.type != "DELETE":
                self.put((event.kv,))
            elif (key := _text(event.kv.key)) in self.values:
                self._size -= len(event.kv.key) + len(self.values.pop(key))


async def read_entries(gateway: Gateway, prefix: str) -> Entries:
    """All keys that begin with a prefix.

    Raises:
        RegistryUnavailableError: no answer, or not all of them, in time.
        RegistryError: it refuses, or there are too many.
    """
    doing = f"read the keys below {prefix!r}"
    size = PAGE
    with trio.move_on_after(gateway.timeout):
        while True:
            try:
                return await _read_pages(gateway, prefix, doing, size)
            except AnswerTooLargeError:
                if size == 1:
                    raise
                size //= 2
            except CompactedError:
                pass  # between two pages: again
    raise RegistryUnavailableError(
        f"{gateway.url} did not answer within {gateway.timeout:g} s; cannot {doing}"
    )


async def _read_pages(gateway: Gateway, prefix: str, doing: str, size: int) -> Entries:
    entries = Entries(prefix)
    request: Request = {**range_of(key_of(prefix)), "limit": str(size)}
    while True:
        answer = await gateway.call(RANGE, request, doing)
        entries.put(answer.kvs)
        entries.revision = entries.revision or answer.header.revision
        if not answer.more or not answer.kvs:
            return entries
        request["revision"] = str(entries.revision)
        request["key"] = answer.kvs[-1].key + b"\0"


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None
