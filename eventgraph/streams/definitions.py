"""Feeds, rules and registrations, and the links that follow from them.

Pure: it knows no graph. Definitions never change; each operation returns new ones, so that
what the graph refuses is simply not taken over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from eventgraph.event import Address
from eventgraph.streams.errors import (
    AlreadyRegisteredError,
    FeedExistsError,
    FeedNotFoundError,
    NotRegisteredError,
    RuleNotFoundError,
)
from eventgraph.streams.rule import NAMESPACE, Rule, check_feed_name, check_rule, check_source

K = TypeVar("K")
V = TypeVar("V")

Pair = tuple[Address, Address]
"""A link: from a feed to a client."""

MAX_SHOWN = 200  # characters of an unknown name in a message


class Definitions(msgspec.Struct, frozen=True):
    """What was asked for. The dicts are never changed."""

    feeds: dict[str, Address] = {}
    rules: dict[str, Rule] = {}  # by stream
    clients: dict[str, dict[Address, None]] = {}  # by what they are registered to, in order

    def wanted(self, sources: Iterable[str], only: Address | None = None) -> Counter[Pair]:
        """The links for these streams and feeds, and how often each is wanted.

        Args:
            sources: as clients register to them.
            only: the links to this client; None: to all.
        """
        pairs: Counter[Pair] = Counter()
        for source in sources:
            clients = self.clients.get(source, {})
            for name in self.feeds_of(source):
                feed = self.feeds.get(name)
                for client in clients if only is None else (clients.keys() & {only}):
                    if feed is not None and feed != client:  # nobody hears itself
                        pairs[feed, client] += 1
        return pairs

    def feeds_of(self, source: str) -> tuple[str, ...]:
        """The names of the feeds that a stream or a feed is made of."""
        if not source.startswith(NAMESPACE):
            return (source,)
        rule = self.rules.get(source.removeprefix(NAMESPACE))
        return () if rule is None else rule.feeds

    def sources_of(self, feed: str) -> list[str]:
        """What a feed is heard by: its own name, and the streams whose rules name it."""
        streams = [rule.stream for rule in self.rules.values() if feed in rule.feeds]
        return [feed, *(NAMESPACE + stream for stream in streams)]

    # Operations; each raises what its method of Streams does

    def with_feed(self, name: str, address: Address) -> Definitions:
        """One feed more."""
        check_feed_name(name)
        if name in self.feeds:
            raise FeedExistsError(
                f"there is a feed {name!r} already, of {self.feeds[name]}; remove it first"
            )
        return replace(self, feeds={**self.feeds, name: address})

    def without_feed(self, name: str) -> Definitions:
        """One feed less; rules that name it and clients of it wait for another."""
        if name not in self.feeds:
            raise FeedNotFoundError(f"there is no feed {name[:MAX_SHOWN]!r}")
        return replace(self, feeds=_without(self.feeds, name))

    def with_rule(self, rule: Rule) -> Definitions:
        """A rule more, or another one for its stream."""
        check_rule(rule)
        return replace(self, rules={**self.rules, rule.stream: rule})

    def without_rule(self, stream: str) -> Definitions:
        """A rule less; its clients wait for another."""
        if stream not in self.rules:
            raise RuleNotFoundError(f"there is no rule for stream {stream[:MAX_SHOWN]!r}")
        return replace(self, rules=_without(self.rules, stream))

    def with_client(self, client: Address, source: str) -> Definitions:
        """A registration more."""
        check_source(source)
        there = self.clients.get(source, {})
        if client in there:
            raise AlreadyRegisteredError(f"{client} is registered to {source!r} already")
        return replace(self, clients={**self.clients, source: {**there, client: None}})

    def without_client(self, client: Address, source: str) -> Definitions:
        """A registration less."""
        there = self.clients.get(source, {})
        if client not in there:
            raise NotRegisteredError(f"{client} is not registered to {source[:MAX_SHOWN]!r}")
        left = _without(there, client)
        rest = _without(self.clients, source)
        return replace(self, clients={**rest, source: left} if left else rest)


def _without(items: dict[K, V], key: K) -> dict[K, V]:
    return {other: value for other, value in items.items() if other != key}
