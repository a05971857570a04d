"""Every exception of pipes, named by what went wrong."""

from eventgraph.errors import GraphError


class PipeError(GraphError):
    """The base of all that pipes raise on purpose."""


class PipeNameError(PipeError):
    """A name of a destination, group or prefix that cannot stand in a key."""


class PipeOptionError(PipeError):
    """A URL or an option that cannot be used."""


class RegistryError(PipeError):
    """The registry refused: wrong credentials, a value too large, or an answer without sense."""


class RegistryUnavailableError(RegistryError):
    """The registry does not answer, or not in time. What stands goes on; try again."""


class LeaseLostError(RegistryError):
    """The lease has run out or was taken away, and its keys with it: grant another."""


class DestinationExistsError(PipeError):
    """Another sender has that destination."""


class DestinationClosedError(PipeError):
    """The destination was unregistered, or has failed: it takes no more events."""


class GroupLeftError(PipeError):
    """The member has left its group: nothing more comes."""


class EventTooLargeError(PipeError):
    """The event does not fit into a message; see ``max_message_size``."""


class EventFormatError(PipeError):
    """The event holds what cannot travel: see the reference for what can."""


class WireError(PipeError):
    """A message that is not one of ours, or of a version that we do not speak."""


class TransportError(PipeError):
    """A socket cannot listen, dial, or be set up with these certificates.

    ``in_use``: the address is taken; another port may be free.
    """

    def __init__(self, message: str, *, in_use: bool = False) -> None:
        super().__init__(message)
        self.in_use = in_use
