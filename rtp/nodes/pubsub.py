"""PubSub: fan-out to subscribers that come and go."""

import logging

from eventgraph import Event, Node, NodeDelegate

logger = logging.getLogger("rtp")


class PubSub(Node):
    """Hands each event to all of its links: to subscribe is to be linked.

    A subscriber that refuses an event misses it, and nobody else does; the event is counted
    on its link. One that refuses `drop_after` events in a row is dropped: its link goes
    down, and the log names it. It may subscribe again.

    Attributes:
        subscribers_dropped: how many links were taken down for that.
    """

    max_links = 1024  # of the size of an audience, rather than of a processing chain

    def __init__(self, scope: str, name: str, *, drop_after: int | None = None) -> None:
        """
        Args:
            drop_after: refusals in a row until a subscriber is dropped, at least 1; None
                only ever skips.
        Raises:
            ValueError: drop_after is out of range.
        """
        if drop_after is not None and drop_after < 1:
            raise ValueError(f"drop_after is {drop_after} events: give at least 1, or None")
        super().__init__(scope, name)
        self.subscribers_dropped = 0
        self._drop_after = drop_after
        self._refusals: dict[int, int] = {}  # in a row, by link id; only links that refuse

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        refused: list[int] = []
        self._delegate.broadcast(event, refused)
        if self._drop_after is not None and (refused or self._refusals):
            self._refusals = {link_id: self._refusals.get(link_id, 0) + 1 for link_id in refused}
            for link_id in refused:
                if self._refusals[link_id] >= self._drop_after:
                    self._drop(link_id)

    def _drop(self, link_id: int) -> None:
        self.subscribers_dropped += 1
        logger.warning(
            "%s drops its subscriber %s, which refused %d events in a row",
            self._delegate.address,
            self._delegate.links[link_id],
            self._refusals.pop(link_id),
        )
        self._delegate.request_link_down(link_id)
