"""Store: keys with values under leases, and who wants to know of them.

Pure: no trio, no clock, no socket. Everything in it is bounded; what exceeds a bound is
refused, and nothing has changed then.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from eventgraph.pipes.errors import LeaseLostError, RegistryError


class StoreLimits(msgspec.Struct, frozen=True):
    """How much a store takes. A destination with ten groups of ten members has 121 keys."""

    key_size: int = 1024  # bytes of UTF-8: names are typed by people, and none is longer
    value_size: int = 64 << 10  # bytes: a value is a handful of URLs
    keys: int = 65_536
    size: int = 16 << 20  # bytes of all keys and values: a view of everything is one message
    leases: int = 16_384  # one for each destination and member
    watches: int = 4_096  # each change looks at every one of them, which takes 0.1 us each


LIMITS = StoreLimits()


def check_key(key: str, limits: StoreLimits = LIMITS) -> int:
    """The size of a key, or of a prefix, in bytes.

    Raises:
        RegistryError: it is too long, or cannot be written as UTF-8.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise RegistryError(f"the key {key!r} has half a surrogate pair; use real text") from None
    if size > limits.key_size:
        raise RegistryError(
            f"the key {key[:40]!r}... has {size} bytes; at most {limits.key_size} are allowed"
        )
    return size


def check_entry(key: str, value: bytes, limits: StoreLimits = LIMITS) -> int:
    """The size of a key and its value together, in bytes.

    Raises:
        RegistryError: one of them is too large, or the key is empty.
    """
    if not key:
        raise RegistryError("a key must not be empty")
    if len(value) > limits.value_size:
        raise RegistryError(
            f"the value of {key[:40]!r} has {len(value)} bytes; "
            f"at most {limits.value_size} are allowed"
        )
    return check_key(key, limits) + len(value)


class Entry(NamedTuple):
    """What stands at a key, and whose it is."""

    value: bytes
    lease: int


class Watch(NamedTuple):
    prefix: str
    on_change: Callable[[str], None]


class Store:
    """Keys with values. ``revision`` counts the changes of keys."""

    def __init__(self, limits: StoreLimits = LIMITS) -> None:
        self.revision = 0
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self._size = 0  # bytes of keys and values
        self._leases: dict[int, dict[str, None]] = {}  # its keys, in the order they were put
        self._watches: dict[int, Watch] = {}
        self._numbers = itertools.count(1)

    def read(self, prefix: str) -> dict[str, bytes]:
        """All keys that begin with a prefix, with their values."""
        found = self._entries.items()
        return {key: entry.value for key, entry in found if key.startswith(prefix)}

    def get(self, key: str) -> bytes | None:
        """The value at a key; None if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def grant(self) -> int:
        """A new lease. Its number is never used again.

        Raises:
            RegistryError: there are too many.
        """
        if len(self._leases) >= self._limits.leases:
            raise RegistryError(f"the registry has {self._limits.leases} leases, and no more")
        lease = next(self._numbers)
        self._leases[lease] = {}
        return lease

    def put(self, lease: int, key: str, value: bytes) -> None:
        """Set a key, whoever had it before; it is this lease's from now on.

        Raises:
            LeaseLostError: there is no such lease.
            RegistryError: a bound is exceeded.
        """
        own = self._keys_of(lease)
        growth = check_entry(key, value, self._limits)
        before = self._entries.get(key)
        if before is not None:
            growth -= len(key.encode()) + len(before.value)
        elif len(self._entries) >= self._limits.keys:
            raise RegistryError(f"the registry has {self._limits.keys} keys, and no more")
        if growth > 0 and self._size + growth > self._limits.size:
            raise RegistryError(f"the registry holds {self._limits.size} bytes, and no more")
        if before is not None:
            del self._leases[before.lease][key]
        own[key] = None
        self._entries[key] = Entry(value, lease)
        self._size += growth
        self._changed(key)

    def create(self, lease: int, key: str, value: bytes) -> bool:
        """Set a key if there is none; whether this lease has it now.

        Raises:
            As `put`.
        """
        own = self._keys_of(lease)
        if key in self._entries:
            return key in own
        self.put(lease, key, value)
        return True

    def delete(self, lease: int, key: str) -> None:
        """Remove a key if this lease put it last.

        Raises:
            LeaseLostError: there is no such lease.
        """
        if key in self._keys_of(lease):
            self._remove(key)

    def end(self, lease: int) -> None:
        """Remove a lease with all of its keys. One that has ended already is ignored."""
        for key in list(self._leases.get(lease, ())):
            self._remove(key)
        self._leases.pop(lease, None)

    def watch(self, prefix: str, on_change: Callable[[str], None]) -> int:
        """Have every change of a key that begins with a prefix told, after it was made.

        Args:
            on_change: takes the key. It must not change the store.
        Returns:
            A number for `unwatch`.
        Raises:
            RegistryError: the prefix is too long, or there are too many watches.
        """
        check_key(prefix, self._limits)
        if len(self._watches) >= self._limits.watches:
            raise RegistryError(f"the registry has {self._limits.watches} watches, and no more")
        number = next(self._numbers)
        self._watches[number] = Watch(prefix, on_change)
        return number

    def unwatch(self, number: int) -> None:
        """Tell it no longer; a number that is not known is ignored."""
        self._watches.pop(number, None)

    def _keys_of(self, lease: int) -> dict[str, None]:
        keys = self._leases.get(lease)
        if keys is None:
            raise LeaseLostError("the lease has ended, and its keys with it: grant another")
        return keys

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key)
        del self._leases[entry.lease][key]
        self._size -= len(key.encode()) + len(entry.value)
        self._changed(key)

    def _changed(self, key: str) -> None:
        self.revision += 1
        for watch in self._watches.values():
            if key.startswith(watch.prefix):
                watch.on_change(key)
