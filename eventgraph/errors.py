"""Every exception of the package, named by what went wrong.

An expected refusal on the hot path is not here: ``deliver`` answers with a bool.
"""


class GraphError(Exception):
    """The base of everything that eventgraph raises on purpose."""


class GraphClosedError(GraphError):
    """The graph is not open: it has not been entered, or it is being left."""


class GraphFailedError(GraphError):
    """Supervised nodes crashed again and again, and all restarts that were allowed are spent."""


class HookOverdueError(GraphError):
    """A hook held up all other nodes for longer than it may."""


class NodeExistsError(GraphError):
    """The address is in use by a node that has not left yet."""


class NodeNotFoundError(GraphError):
    """There is no node at that address."""


class NodeExitedError(GraphError):
    """The node that asks has left the graph."""


class LinkExistsError(GraphError):
    """These two nodes are linked in this direction already."""


class LinkNotFoundError(GraphError):
    """No such link: the id was never issued to this node, or the link is gone."""


class LinkTableFullError(GraphError):
    """The sender has no room for one more link."""


class LinkRefusedError(GraphError):
    """The receiver is leaving and takes no new links."""


class FormatMismatchError(GraphError):
    """What the sender offers the receiver does not accept, and no converters lead there."""


class TracerBusyError(GraphError):
    """Somebody traces this graph already."""
