"""What can be wrong with recordings."""

from eventgraph.errors import GraphError


class RecordingError(GraphError):
    """The file is no recording, or is damaged, or does not fit to the graph."""


class UnrecordableError(GraphError):
    """An object of this type cannot be recorded."""
