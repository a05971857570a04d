"""What a rule is, and how feeds and streams are called.

A stream ``lobby`` is registered to as ``stream/lobby``. No feed has a name of that form, so
no stream can be part of a stream.
"""

import re
from typing import Final

import msgspec

from eventgraph.event import Address
from eventgraph.streams.errors import StreamNameError

NAMESPACE: Final = "stream/"
MAX_STREAM_NAME: Final = 64  # characters; a segment of a URL
MAX_FEED_NAME: Final = 200  # characters

_STREAM_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_STREAM_NAME - 1}}}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stream is made of these feeds, and of nothing if there are none.

    Feeds that do not exist yet are waited for.
    """

    stream: str
    feeds: tuple[str, ...]


def check_rule(rule: Rule) -> Rule:
    """The rule, as it is.

    Raises:
        StreamNameError: a name in it cannot be used, or a feed stands there twice.
    """
    check_stream_name(rule.stream)
    for feed in rule.feeds:
        check_feed_name(feed)
    if len(set(rule.feeds)) < len(rule.feeds):
        twice = next(feed for feed in rule.feeds if rule.feeds.count(feed) > 1)
        raise StreamNameError(
            f"feed {twice!r} is in the rule of stream {rule.stream!r} twice; name it once"
        )
    return rule


def check_stream_name(name: str) -> str:
    """A name of a stream, without its namespace.

    Raises:
        StreamNameError: it is none.
    """
    if not _STREAM_NAME.fullmatch(name):
        raise StreamNameError(
            f"{name[:MAX_STREAM_NAME]!r} is no name for a stream: use 1 to {MAX_STREAM_NAME} "
            "of A-Z a-z 0-9 . _ -, beginning with a letter or a digit"
        )
    return name


def check_feed_name(name: str) -> str:
    """A name of a feed.

    Raises:
        StreamNameError: it is none, or of the form of a stream's.
    """
    if name.startswith(NAMESPACE):
        raise StreamNameError(
            f"{name[:MAX_FEED_NAME]!r} names a stream, and no stream is part of a stream: use feeds"
        )
    if not 1 <= len(name) <= MAX_FEED_NAME or not name.isprintable() or name != name.strip():
        raise StreamNameError(
            f"{name[:MAX_FEED_NAME]!r} is no name for a feed: use 1 to {MAX_FEED_NAME} "
            "printable characters, with no space at either end"
        )
    return name


def check_source(source: str) -> str:
    """What a client registers to: ``stream/NAME``, or a feed by its name.

    Raises:
        StreamNameError: it is neither.
    """
    if source.startswith(NAMESPACE):
        check_stream_name(source.removeprefix(NAMESPACE))
        return source
    return check_feed_name(source)


def default_feed_name(address: Address) -> str:
    """How a feed is called that was given no name: ``scope/name`` of its node."""
    return f"{address.scope}/{address.name}"
