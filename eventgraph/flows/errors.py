"""Every exception of flows, named by what went wrong."""

from eventgraph.errors import GraphError


class FlowError(GraphError):
    """The base of all that flows raise on purpose."""


class FlowNameError(FlowError):
    """An application, user, group, name or machine that cannot be one."""


class FlowOptionError(FlowError):
    """An option or a format that makes no sense."""


class FlowDirectoryError(FlowError):
    """The runtime directory is not ours alone, or cannot be made."""


class FlowServerError(FlowError):
    """There is no server, and none could be started."""


class FlowVersionError(FlowError):
    """The other side speaks another version of the protocol: update one of both."""


class FlowProtocolError(FlowError):
    """The other side sent what the protocol does not allow."""


class FlowRefusedError(FlowError):
    """The server refused a request; the message says why."""


class FlowWorkerError(FlowError):
    """A worker could not be started; the message says why."""


class AuthenticationError(FlowError):
    """The other side could not prove who it is, or we could not."""


class FlowConversionError(FlowError):
    """No converter makes the wanted format out of what is provided."""


class FlowClosedError(FlowError):
    """The provider, consumer or client was closed, or has failed."""


class FlowObsoleteError(FlowClosedError):
    """Another provider has taken the flow over: end."""


class FlowUnreadError(FlowError):
    """Blocks that must not be lost wait to be received: do that first."""


class BlockTooLargeError(FlowError):
    """The block does not fit into a slot of the ring; see ``max_block``."""
