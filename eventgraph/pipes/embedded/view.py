"""EmbeddedView: what a client of the embedded registry knows of what stands below a prefix."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from eventgraph.pipes.embedded.connection import Connection
from eventgraph.pipes.embedded.protocol import Changes
from eventgraph.pipes.registry import View


class EmbeddedView(View):
    """Made by `EmbeddedClient.watch`.

    Attributes:
        connection: that on which it was read whole; None: it has to be read again.
        entered: whether somebody has it, and wants to be told.
    """

    def __init__(self, number: int, prefix: str, on_change: Callable[[], None]) -> None:
        self.number = number
        self.prefix = prefix
        self.connection: Connection | None = None
        self.entered = False
        self._entries: Mapping[str, bytes] = MappingProxyType({})
        self._on_change = on_change

    @property
    def entries(self) -> Mapping[str, bytes]:
        return self._entries

    @property
    def live(self) -> bool:
        return self.connection is not None and self.connection.open and self.connection.answering

    def apply(self, changes: Changes, connection: Connection) -> None:
        """Take over what the server says."""
        entries = dict(changes.entries) if changes.whole else {**self._entries, **changes.entries}
        for key in changes.gone:
            entries.pop(key, None)
        if changes.whole:
            self.connection = connection
        self._entries = MappingProxyType(entries)
        self.tell()

    def tell(self) -> None:
        """Something has changed."""
        if self.entered:
            self._on_change()
