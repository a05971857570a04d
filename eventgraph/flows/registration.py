"""Registration: what a client tells each server that it comes to."""

from abc import ABC, abstractmethod

from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import FlowClosedError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.protocol import MAX_NAMED, Message, Provide, Subscribe
from eventgraph.flows.provider import Provider


class Registration(ABC):
    """Of one end of a flow.

    Attributes:
        known: to a server, now or before.
    """

    def __init__(self) -> None:
        self.known = False

    @abstractmethod
    def message(self, n: int) -> Message:
        """The request, with that number."""

    @property
    def descriptors(self) -> list[int]:
        """What goes along."""
        return []

    @abstractmethod
    def close(self, error: FlowClosedError) -> None:
        """End it."""


class Provided(Registration):
    """A flow of ours."""

    def __init__(self, flow: str, provider: Provider, variant: str, started: int) -> None:
        super().__init__()
        self.flow = flow
        self.provider = provider
        self.variant = variant
        self.started = started
        self.stopped_by: tuple[str, ...] = ()
        self.started_by: tuple[str, ...] = ()
        self.begun = False  # it was running once

    def message(self, n: int) -> Message:
        provider = self.provider
        return Provide(
            n,
            self.flow,
            provider.key,
            provider.format,
            self.started,
            provider.options,
            self.known,
            self.variant,
            self.stopped_by,
            self.started_by,
            self.begun,
        )

    @property
    def descriptors(self) -> list[int]:
        return [self.provider.ring.fd]

    def close(self, error: FlowClosedError) -> None:
        self.provider.close(error)


class Consumed(Registration):
    """A subscription of ours."""

    def __init__(self, subscription: str, consumer: Consumer, wanted: FlowFormat | None) -> None:
        super().__init__()
        self.subscription = subscription
        self.consumer = consumer
        self.wanted = wanted
        self.signal: bool | None = None

    def message(self, n: int) -> Message:
        sources = self.consumer.sources[-MAX_NAMED:]  # the others are connected again
        attached = tuple((source.key, source.flow) for source in sources)
        return Subscribe(
            n, self.subscription, self.consumer.pattern, self.wanted, attached, self.signal
        )

    def close(self, error: FlowClosedError) -> None:
        self.consumer.close(error)
