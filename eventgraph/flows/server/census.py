"""Census: what stands on one machine, as it is listed."""

from collections.abc import Callable, Iterator, Mapping

from eventgraph.flows.listing import (
    OTHER_MACHINES,
    ConsumerListing,
    FlowListing,
    WaitingListing,
)
from eventgraph.flows.server.broker import Broker, Flow, Subscription
from eventgraph.flows.server.session import Session


class Census:
    """Of the flows of a broker, and who waits for others.

    Args:
        sessions: of the clients, by id.
        size_of: a flow, in bytes of its ring.
        origin_of: a flow that was brought in: the machine.
    """

    def __init__(
        self,
        broker: Broker,
        sessions: Mapping[str, Session],
        *,
        size_of: Callable[[str], int],
        origin_of: Callable[[str], str],
    ) -> None:
        self._broker = broker
        self._sessions = sessions
        self._size_of = size_of
        self._origin_of = origin_of

    def flows(self) -> Iterator[FlowListing]:
        """All of them, by key."""
        for _, stream in sorted(self._broker.streams.items()):
            yield from map(self._flow, stream.flows.values())

    def waiting(self) -> Iterator[WaitingListing]:
        """Consumers that have no provider."""
        for subscription in self._broker.subscriptions.values():
            if not (subscription.own or subscription.attached):
                yield WaitingListing(
                    subscription.client,
                    self._name_of(subscription.client),
                    subscription.pattern,
                    subscription.wanted,
                )

    def _flow(self, flow: Flow) -> FlowListing:
        running, stopped_by, _ = flow.told or (True, frozenset[str](), frozenset[str]())
        provider = self._sessions[flow.client].client
        return FlowListing(
            flow.key,
            flow.id,
            flow.format,
            "" if flow.remote else provider.id,
            provider.name,
            flow.variant,
            self._origin_of(flow.id) if flow.remote else "",
            self._size_of(flow.id),
            running,
            tuple(self._name_of(client) for client in sorted(stopped_by)),
            flow.obsolete,
            tuple(
                self._consumer(subscription)
                for subscription in self._broker.subscriptions.values()
                if subscription.attached.get(flow.key) == flow.id
            ),
        )

    def _consumer(self, subscription: Subscription) -> ConsumerListing:
        session = self._sessions[subscription.client]
        client = session.client
        signal = {None: "", True: "started", False: "stopped"}[subscription.signal]
        if session.own:
            return ConsumerListing("", OTHER_MACHINES, signal)
        return ConsumerListing(client.id, client.name, signal)

    def _name_of(self, client: str) -> str:
        session = self._sessions.get(client)
        return session.client.name if session is not None else client
