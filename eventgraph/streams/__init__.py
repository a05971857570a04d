"""Streams made of feeds by rule, and clients that follow the rule as it changes.

::

    feed --link--> client        for each client of a feed, and of a stream whose rule names it

A policy over links: no node relays, no task runs, nothing is polled. From the top down::

    streams      keeps the links of a graph true to the rules
    snapshot     what can be seen of it
    definitions  pure: feeds, rules, registrations, and which links they want
    rule         what a rule may be, and what names are
    errors
"""

from eventgraph.streams.errors import (
    AlreadyRegisteredError,
    FeedExistsError,
    FeedNotFoundError,
    NotRegisteredError,
    RuleNotFoundError,
    StreamError,
    StreamNameError,
    StreamRoomError,
)
from eventgraph.streams.rule import Rule
from eventgraph.streams.snapshot import (
    ClientSnapshot,
    FeedSnapshot,
    StreamLink,
    StreamLinkState,
    StreamsSnapshot,
)
from eventgraph.streams.streams import Streams

__all__ = [
    "AlreadyRegisteredError",
    "ClientSnapshot",
    "FeedExistsError",
    "FeedNotFoundError",
    "FeedSnapshot",
    "NotRegisteredError",
    "Rule",
    "RuleNotFoundError",
    "StreamError",
    "StreamLink",
    "StreamLinkState",
    "StreamNameError",
    "StreamRoomError",
    "Streams",
    "StreamsSnapshot",
]
