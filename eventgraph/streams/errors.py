"""Every exception of streams, named by what went wrong. After any of them nothing has changed."""

from eventgraph.errors import GraphError


class StreamError(GraphError):
    """The base of all that streams raise on purpose."""


class StreamNameError(StreamError):
    """A name of a feed or of a stream that cannot be used, or one twice in a rule."""


class FeedExistsError(StreamError):
    """There is a feed of that name."""


class FeedNotFoundError(StreamError):
    """There is no feed of that name."""


class RuleNotFoundError(StreamError):
    """There is no rule for that stream."""


class AlreadyRegisteredError(StreamError):
    """The client is registered to that stream or feed already."""


class NotRegisteredError(StreamError):
    """The client is not registered to that stream or feed."""


class StreamRoomError(StreamError):
    """The link table of a feed has no room for all links that the change would need."""
