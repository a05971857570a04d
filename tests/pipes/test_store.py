"""The store: leases own keys, watches see them, and everything is bounded."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from eventgraph.pipes.embedded.store import Store, StoreLimits
from eventgraph.pipes.errors import LeaseLostError, RegistryError

SMALL = StoreLimits(key_size=8, value_size=8, keys=5, size=40, leases=4, watches=3)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RegistryError) as error:
        call()
    assert not isinstance(error.value, LeaseLostError)
    return str(error.value)


def test_each_bound_is_refused_by_its_name() -> None:
    store = Store(SMALL)
    lease = store.grant()
    assert "9 bytes; at most 8" in refused(lambda: store.put(lease, "k" * 9, b""))
    assert "9 bytes; at most 8" in refused(lambda: store.put(lease, "k", bytes(9)))
    assert "9 bytes; at most 8" in refused(lambda: store.watch("k" * 9, print))
    assert "empty" in refused(lambda: store.create(lease, "", b""))
    assert "surrogate" in refused(lambda: store.put(lease, "\ud800", b""))
    for _ in range(3):
        store.grant()
        store.watch("", lambda _: None)
    assert "4 leases" in refused(store.grant)
    assert "3 watches" in refused(lambda: store.watch("", print))
    for number in range(5):
        store.put(lease, str(number), b"")
    assert "5 keys" in refused(lambda: store.create(lease, "5", b""))
    for number in range(4):
        store.put(lease, str(number), bytes(8))
    assert "40 bytes" in refused(lambda: store.put(lease, "4", b"12345"))
    store.put(lease, "4", b"123")
    assert store.revision == 10  # what was refused has changed nothing


def test_key_size_counts_bytes_and_not_characters() -> None:
    store = Store(SMALL)
    lease = store.grant()
    store.put(lease, "żółw", b"")
    assert refused(lambda: store.put(lease, "żółwie", b""))


def test_ended_lease_can_do_nothing() -> None:
    store = Store()
    lease = store.grant()
    store.end(lease)
    store.end(lease)
    for call in (store.put, store.create):
        with pytest.raises(LeaseLostError):
            call(lease, "key", b"")
    with pytest.raises(LeaseLostError):
        store.delete(lease, "key")
    assert store.grant() != lease


def test_room_comes_back() -> None:
    store = Store(SMALL)
    for _ in range(20):
        lease = store.grant()
        for number in range(4):
            store.put(lease, str(number), bytes(8))
        watch = store.watch("", lambda _: None)
        store.unwatch(watch)
        store.unwatch(watch)
        store.end(lease)
    assert store.read("") == {}


KEYS = st.sampled_from(["a", "ab", "abc", "b", "ż", "żż"])
VALUES = st.sampled_from([b"", b"1", b"22", b"88888888"])
SLOTS = st.integers(0, 5)  # leases and watches by the order they were made in, or none
PREFIXES = st.sampled_from(["", "a", "ab", "b", "ż", "nobody"])


class StoreMachine(RuleBasedStateMachine):
    """A store, and a list of rows that does the same slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(SMALL)
        self.rows: list[tuple[str, bytes, int]] = []  # key, value, lease
        self.leases: list[int] = []
        self.ended: set[int] = set()
        self.watches: list[tuple[int, str, dict[str, bytes]]] = []  # number, prefix, as told
        self.changes = 0

    def lease(self, slot: int) -> int:
        return self.leases[slot % len(self.leases)] if self.leases else 99

    def found(self, key: str) -> tuple[str, bytes, int] | None:
        return next((row for row in self.rows if row[0] == key), None)

    def fits(self, key: str, value: bytes) -> bool:
        rows = [row for row in self.rows if row[0] != key]
        size = sum(len(k.encode()) + len(v) for k, v, _ in [*rows, (key, value, 0)])
        old = self.found(key)
        grows = old is None or len(value) > len(old[1])
        return len(rows) < SMALL.keys and (size <= SMALL.size or not grows)

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except RegistryError as error:
            return type(error)

    @rule()
    def grant(self) -> None:
        living = len(self.leases) - len(self.ended)
        lease = self.attempt(self.store.grant)
        if living == SMALL.leases:
            assert lease is RegistryError
        else:
            assert lease not in self.leases
            self.leases.append(lease)

    @rule(slot=SLOTS, key=KEYS, value=VALUES)
    def put(self, slot: int, key: str, value: bytes) -> None:
        lease = self.lease(slot)
        answer = self.attempt(self.store.put, lease, key, value)
        self._put(lease, key, value, answer)

    def _put(self, lease: int, key: str, value: bytes, answer: object) -> None:
        if lease in self.ended or lease not in self.leases:
            assert answer is LeaseLostError
        elif not self.fits(key, value):
            assert answer is RegistryError
        else:
            assert answer in (None, True)
            self.rows = [*(row for row in self.rows if row[0] != key), (key, value, lease)]
            self.changes += 1

    @rule(slot=SLOTS, key=KEYS, value=VALUES)
    def create(self, slot: int, key: str, value: bytes) -> None:
        lease = self.lease(slot)
        answer = self.attempt(self.store.create, lease, key, value)
        old = self.found(key)
        if old is None or lease in self.ended or lease not in self.leases:
            self._put(lease, key, value, answer)
        else:
            assert answer is (old[2] == lease)

    @rule(slot=SLOTS, key=KEYS)
    def delete(self, slot: int, key: str) -> None:
        lease = self.lease(slot)
        answer = self.attempt(self.store.delete, lease, key)
        if lease in self.ended or lease not in self.leases:
            assert answer is LeaseLostError
        else:
            self._remove(lambda row: row[0] == key and row[2] == lease)

    @rule(slot=SLOTS)
    def end(self, slot: int) -> None:
        lease = self.lease(slot)
        self.store.end(lease)
        if lease in self.leases:
            self.ended.add(lease)
        self._remove(lambda row: row[2] == lease)

    def _remove(self, gone: Callable[[tuple[str, bytes, int]], bool]) -> None:
        rows = [row for row in self.rows if not gone(row)]
        self.changes += len(self.rows) - len(rows)
        self.rows = rows

    @rule(prefix=PREFIXES)
    def watch(self, prefix: str) -> None:
        told = self.store.read(prefix)

        def on_change(key: str) -> None:
            value = self.store.get(key)
            assert (told.get(key), value) != (None, None)
            if value is None:
                del told[key]
            else:
                told[key] = value

        number = self.attempt(self.store.watch, prefix, on_change)
        if len(self.watches) == SMALL.watches:
            assert number is RegistryError
        else:
            self.watches.append((number, prefix, told))

    @rule(slot=SLOTS)
    def unwatch(self, slot: int) -> None:
        if self.watches:
            number, _, _ = self.watches.pop(slot % len(self.watches))
            self.store.unwatch(number)

    @invariant()
    def same(self) -> None:
        assert self.store.revision == self.changes
        for prefix in ("", "a", "ab", "ż"):
            rows = {key: value for key, value, _ in self.rows if key.startswith(prefix)}
            assert self.store.read(prefix) == rows
        for _, prefix, told in self.watches:
            assert told == self.store.read(prefix)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=100, stateful_step_count=50)
