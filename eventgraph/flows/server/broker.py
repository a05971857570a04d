"""Broker: who is connected to whom, and who may run. Pure: it decides, and says what is to be done.

A *stream* is all that is known of one key: the providers that stand for it, of which one is
chosen, those of other formats that converters make out of it, and who has stopped it. The rule
that chooses, the same on all servers: the provider that was started last, and of equals the one
with the larger id. Which one that is of all machines is said by the claim in the registry.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from eventgraph.flows.errors import FlowConversionError, FlowRefusedError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions

Rank = tuple[int, str]
"""When a provider was started, in nanoseconds since the epoch, and its id: the higher is chosen."""


class Claim(msgspec.Struct, frozen=True):
    """The provider of a key that all servers agree on, if it is another machine's."""

    flow: str
    rank: Rank


_DEFAULT: Final = ProviderOptions()


class Flow:
    """A provider of a key: a client's, or one that brings in what another machine provides.

    Attributes:
        id: as in the registry; one that is brought in has that of the origin.
        client: who provides it.
        variant: the format that a converter makes it in; empty: it is the original.
        rank: the higher is chosen.
        remote: whether it is brought in.
        begun: it had all the STARTs that it waits for.
        new: no server had it before this one.
    """

    def __init__(
        self,
        id: str,
        client: str,
        key: FlowKey,
        format: FlowFormat,
        *,
        started: int,
        variant: str = "",
        options: ProviderOptions = _DEFAULT,
        remote: bool = False,
        begun: bool = False,
        new: bool = False,
    ) -> None:
        self.id = id
        self.client = client
        self.key = key
        self.format = format
        self.variant = variant
        self.rank: Rank = (started, id)
        self.options = options
        self.remote = remote
        self.obsolete = False
        self.told: tuple[bool, frozenset[str], frozenset[str]] | None = None
        self.begun = begun
        self.new = new


class Subscription:
    """What a consumer wants.

    Attributes:
        attached: by key, the flow that it is connected to.
        signal: True: it has said START; False: STOP.
        own: it is the server's, to carry the flow to other machines.
    """

    def __init__(
        self, id: str, client: str, pattern: FlowPattern, wanted: FlowFormat | None
    ) -> None:
        self.id = id
        self.client = client
        self.pattern = pattern
        self.wanted = wanted
        self.attached: dict[FlowKey, str] = {}
        self.signal: bool | None = None
        self.own = False


class Stream:
    """All that is known of one key."""

    def __init__(self, key: FlowKey) -> None:
        self.key = key
        self.flows: dict[str, Flow] = {}
        self.claim: Claim | None = None  # of another machine
        self.elsewhere: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        """By server: which of its clients have stopped and started it."""
        self.remembered: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()
        """The same, of clients that have yet to come back after the server was replaced."""

    @property
    def chosen(self) -> Flow | None:
        """The original that consumers are to have; None: there is none, or not yet."""
        claimed = self.claim.flow if self.claim is not None else None
        standing = [
            flow
            for flow in self.flows.values()
            if not (flow.variant or flow.obsolete) and (not flow.remote or flow.id == claimed)
        ]
        return max(standing, key=lambda flow: flow.rank, default=None)

    @property
    def contender(self) -> Flow | None:
        """The best of the originals that are made here."""
        local = [f for f in self.flows.values() if not (f.variant or f.obsolete or f.remote)]
        return max(local, key=lambda flow: flow.rank, default=None)

    @property
    def newcomers(self) -> list[Flow]:
        """The originals that began here, and that nobody has taken over from."""
        return [f for f in self.flows.values() if f.new and not (f.variant or f.obsolete)]

    def variant(self, target: FlowFormat) -> Flow | None:
        """The same in another format."""
        found = [f for f in self.flows.values() if f.variant == str(target)]
        return max(found, key=lambda flow: flow.rank, default=None)


class Actions(ABC):
    """What the broker has done by others. None of it may call the broker back."""

    @abstractmethod
    def attach(self, flow: Flow, subscription: Subscription) -> None:
        """Connect the consumer with the provider."""

    @abstractmethod
    def tell_running(
        self, flow: Flow, running: bool, stopped_by: frozenset[str], started_by: frozenset[str]
    ) -> None:
        """Let a provider run, or not."""

    @abstractmethod
    def tell_obsolete(self, flow: Flow, by: str) -> None:
        """Let a provider end: another has taken over."""

    @abstractmethod
    def tell_inconvertible(self, subscription: Subscription, reason: str) -> None:
        """Let a consumer know that it cannot have what it wants."""

    @abstractmethod
    def target(self, source: FlowFormat, wanted: FlowFormat) -> FlowFormat:
        """The whole format that a converter would make.

        Raises:
            FlowConversionError: there is none.
        """

    @abstractmethod
    def rearranged(self, key: FlowKey) -> None:
        """Something of that key has changed: look what is to be brought in, claimed, converted."""


class Broker:
    """All streams of a realm, as one machine sees them."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self.streams: dict[FlowKey, Stream] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._flows: dict[str, Flow] = {}

    # Providers

    def provide(self, flow: Flow) -> None:
        """A flow begins.

        Raises:
            FlowRefusedError: there is one of that id.
        """
        if flow.id in self._flows:
            raise FlowRefusedError(f"there is a flow with the id {flow.id} already")
        self._flows[flow.id] = flow
        self._stream(flow.key).flows[flow.id] = flow
        self._rearrange(flow.key)

    def withdraw(self, flow_id: str, client: str) -> Flow:
        """A flow ends.

        Raises:
            FlowRefusedError: that client has none of that id.
        """
        flow = self._flows.get(flow_id)
        if flow is None or flow.client != client:
            raise FlowRefusedError(f"you provide no flow with the id {flow_id}")
        self._remove(flow)
        return flow

    def _remove(self, flow: Flow) -> None:
        del self._flows[flow.id]
        del self._stream(flow.key).flows[flow.id]
        self._detach(flow)
        self._rearrange(flow.key)

    def _detach(self, flow: Flow) -> None:
        for subscription in self.subscriptions.values():
            if subscription.attached.get(flow.key) == flow.id:
                del subscription.attached[flow.key]

    def flow(self, flow_id: str) -> Flow | None:
        """By id."""
        return self._flows.get(flow_id)

    def remember(self, key: FlowKey, stopped_by: Iterable[str], started_by: Iterable[str]) -> None:
        """A provider that comes back says who had stopped and started it."""
        stream = self._stream(key)
        stopped, started = stream.remembered
        stream.remembered = stopped | frozenset(stopped_by), started | frozenset(started_by)

    def forget_remembered(self, key: FlowKey) -> None:
        """Who has not come back by now does not."""
        stream = self.streams.get(key)
        if stream is not None and any(stream.remembered):
            stream.remembered = frozenset(), frozenset()
            self._rearrange(key)

    # Consumers

    def subscribe(self, subscription: Subscription) -> None:
        """A consumer wants something.

        Raises:
            FlowRefusedError: there is one of that id.
        """
        if subscription.id in self.subscriptions:
            raise FlowRefusedError(f"there is a subscription with the id {subscription.id} already")
        self.subscriptions[subscription.id] = subscription
        if subscription.pattern.group != "*":
            self._stream(FlowKey(subscription.pattern.group, subscription.pattern.name))
        for key in self._matching(subscription):
            self._rearrange(key)

    def unsubscribe(self, subscription_id: str, client: str) -> None:
        """It wants it no longer; if it had stopped something, that runs again.

        Raises:
            FlowRefusedError: that client has none of that id.
        """
        subscription = self._subscription(subscription_id, client)
        del self.subscriptions[subscription_id]
        for key in self._matching(subscription):
            self._rearrange(key)

    def signal(self, subscription_id: str, client: str, *, start: bool) -> None:
        """STOP or START; saying it again changes nothing.

        Raises:
            FlowRefusedError: no such subscription, or a provider does not allow it.
        """
        subscription = self._subscription(subscription_id, client)
        keys = list(self._matching(subscription))
        if not start:
            for key in keys:
                chosen = self.streams[key].chosen
                if chosen is not None and not chosen.options.allow_flow_control:
                    raise FlowRefusedError(f"{key} does not allow flow control")
        subscription.signal = start
        for key in keys:
            self._rearrange(key)

    def lost(self, subscription_id: str, client: str, flow_id: str) -> None:
        """A consumer's connection with a provider has ended; unknown ones are ignored."""
        subscription = self.subscriptions.get(subscription_id)
        if subscription is None or subscription.client != client:
            return
        for key, attached in list(subscription.attached.items()):
            if attached == flow_id:
                del subscription.attached[key]
                self._rearrange(key)

    def has_lost(self, client: str, subscription_id: str, flow_id: str) -> bool:
        """Whether `lost` would change anything."""
        subscription = self.subscriptions.get(subscription_id)
        return (
            subscription is not None
            and subscription.client == client
            and flow_id in subscription.attached.values()
        )

    def _subscription(self, subscription_id: str, client: str) -> Subscription:
        subscription = self.subscriptions.get(subscription_id)
        if subscription is None or subscription.client != client:
            raise FlowRefusedError(f"you have no subscription with the id {subscription_id}")
        return subscription

    # Clients and machines

    def leave(self, client: str) -> list[Flow]:
        """A client is gone: all that was its ends; what it had stopped runs again.

        Returns:
            its flows.
        """
        flows = [flow for flow in self._flows.values() if flow.client == client]
        keys = {flow.key for flow in flows}
        for flow in flows:
            del self._flows[flow.id]
            del self._stream(flow.key).flows[flow.id]
            self._detach(flow)
        for subscription in [s for s in self.subscriptions.values() if s.client == client]:
            del self.subscriptions[subscription.id]
            keys |= set(self._matching(subscription))
        for stream in self.streams.values():
            stopped, started = stream.remembered
            if client in stopped | started:
                stream.remembered = stopped - {client}, started - {client}
                keys.add(stream.key)
        for key in sorted(keys):
            self._rearrange(key)
        return flows

    def claimed(self, key: FlowKey, claim: Claim | None) -> None:
        """All servers agree on that flow of another machine; None: on none."""
        if key in self.streams or claim is not None:
            stream = self._stream(key)
            if stream.claim != claim:
                stream.claim = claim
                self._rearrange(key)

    def signalled_elsewhere(
        self, key: FlowKey, server: str, stopped_by: frozenset[str], started_by: frozenset[str]
    ) -> None:
        """These clients of another server have stopped and started it; replaces what was."""
        if key in self.streams:
            stream = self.streams[key]
            if stopped_by or started_by:
                stream.elsewhere[server] = stopped_by, started_by
            else:
                stream.elsewhere.pop(server, None)
            self._rearrange(key)

    # Decide

    def wants(self, key: FlowKey) -> bool:
        """Whether a consumer here wants that flow."""
        return any(s.pattern.matches(key) for s in self.subscriptions.values() if not s.own)

    def wanted_from_elsewhere(self, key: FlowKey) -> Claim | None:
        """The flow of another machine that is to be brought in."""
        stream = self.streams.get(key)
        if stream is None or stream.claim is None or not self.wants(key):
            return None
        contender = stream.contender
        better = contender is not None and contender.rank > stream.claim.rank
        return None if better else stream.claim

    def conversions(self, key: FlowKey) -> set[FlowFormat]:
        """Formats that consumers here want that flow in, and that it has not."""
        stream = self.streams.get(key)
        chosen = stream.chosen if stream is not None else None
        if chosen is None:
            return set()
        targets = set()
        for subscription in self._subscribers(key):
            wanted = subscription.wanted
            if wanted is not None and not chosen.format.fits(wanted):
                try:
                    targets.add(self._actions.target(chosen.format, wanted))
                except FlowConversionError:
                    continue  # it was told
        return targets

    def signals(self, key: FlowKey) -> tuple[frozenset[str], frozenset[str]]:
        """The clients here that have stopped that flow, and that have started it."""
        subscribers = list(self._subscribers(key))
        return (
            frozenset(s.client for s in subscribers if s.signal is False),
            frozenset(s.client for s in subscribers if s.signal is True),
        )

    def _stream(self, key: FlowKey) -> Stream:
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream(key)
        return stream

    def _matching(self, subscription: Subscription) -> Iterator[FlowKey]:
        return (key for key in list(self.streams) if subscription.pattern.matches(key))

    def _subscribers(self, key: FlowKey) -> Iterator[Subscription]:
        return (s for s in list(self.subscriptions.values()) if s.pattern.matches(key))

    def _rearrange(self, key: FlowKey) -> None:
        """Make what stands true to what is wanted."""
        stream = self._stream(key)
        chosen = stream.chosen
        if chosen is not None:
            self._connect(stream, chosen)
            self._control(stream, chosen)
            self._supersede(stream, chosen)
        elif not stream.flows and not stream.claim and not self.wants(key):
            del self.streams[key]
        self._actions.rearranged(key)

    def _supersede(self, stream: Stream, chosen: Flow) -> None:
        """Those that are not chosen end: when what takes over has come, if anybody waits for it."""
        best, by = chosen.rank, chosen.id
        claim = stream.claim
        if claim is not None and claim.rank > best and not self.wants(stream.key):
            best, by = claim.rank, claim.flow
        for flow in list(stream.flows.values()):
            if flow.rank < best and not (flow.variant or flow.remote or flow.obsolete):
                flow.obsolete = True
                self._actions.tell_obsolete(flow, by)

    def _connect(self, stream: Stream, chosen: Flow) -> None:
        for subscription in self._subscribers(stream.key):
            if subscription.own and chosen.remote:
                continue  # what was brought in is not carried out again
            flow: Flow | None = chosen
            wanted = subscription.wanted
            if wanted is not None and not chosen.format.fits(wanted):
                try:
                    flow = stream.variant(self._actions.target(chosen.format, wanted))
                except FlowConversionError as error:
                    self._actions.tell_inconvertible(subscription, str(error))
                    continue
            if flow is not None and subscription.attached.get(stream.key) != flow.id:
                subscription.attached[stream.key] = flow.id
                self._actions.attach(flow, subscription)

    def _control(self, stream: Stream, chosen: Flow) -> None:
        stopped_by, started_by = self.signals(stream.key)
        for stopped, started in (stream.remembered, *stream.elsewhere.values()):
            stopped_by |= stopped
            started_by |= started
        if not chosen.options.allow_flow_control:
            stopped_by = frozenset()
        chosen.begun |= len(started_by) >= chosen.options.wait_clients
        told = chosen.begun and not stopped_by, stopped_by, started_by
        if chosen.told != told:
            chosen.told = told
            self._actions.tell_running(chosen, *told)
