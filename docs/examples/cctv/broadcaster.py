"""Broadcaster: what a rule makes of a camera's feeds, for all who watch."""

from contextlib import suppress

from eventgraph.lifecycle import LifecycleNode, Principal
from eventgraph.streams import StreamError, Streams
from eventgraph.streams.rule import NAMESPACE


class Broadcaster(LifecycleNode):
    """Passes a stream on to its viewers; without viewers it is not registered to it.

    Being registered is being attached: the rule links the feeds to it, so they run.
    """

    principal = Principal.SERVER
    channel_size = 512  # a key frame is some hundred packets
    max_links = 1024  # of the size of an audience

    def __init__(self, scope: str, streams: Streams, stream: str) -> None:
        """
        Args:
            stream: its name in the rules.
        """
        super().__init__(scope, "broadcast")
        self._streams = streams
        self._source = NAMESPACE + stream
        self._registered = False

    def on_start(self) -> None:
        if not self._registered:
            self._streams.register(self.delegate.address, self._source)
            self._registered = True

    def on_stop(self) -> None:
        if not self.statistics().clients:  # else one came just now, and it goes on at once
            self._registered = False
            with suppress(StreamError):  # the streams are closed: the program ends in a hurry
                self._streams.unregister(self.delegate.address, self._source)
