"""Every exception of the lifecycle, named by what went wrong."""

from eventgraph.errors import GraphError


class LifecycleError(GraphError):
    """The base of what the lifecycle raises."""


class AttachedError(LifecycleError):
    """The client has a server already, perhaps this one."""


class NotAttachedError(LifecycleError):
    """It is not a client of this server."""


class CycleError(LifecycleError):
    """The client is the server itself, or stands above it."""
