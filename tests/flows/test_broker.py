"""The broker's decisions, whatever comes in whatever order."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from eventgraph.flows.errors import FlowConversionError, FlowRefusedError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.server.broker import Actions, Broker, Claim, Flow, Subscription

Names = frozenset[str]
NOBODY: Names = frozenset()
KEYS = [FlowKey("a", "n"), FlowKey("b", "n"), FlowKey("a", "m")]
PATTERNS = [FlowPattern(key.group, key.name) for key in KEYS] + [FlowPattern("*", "n")]
SERVER = "server"  # as its own client: brings flows in, and carries them out
CLIENTS = ["ann", "bob", "cid", "dan", SERVER]
SERVERS = ["north", "south"]
LOW, HIGH, RAW = FlowFormat("AUDIO", {"rate": 8}), FlowFormat("AUDIO", {"rate": 48}), FlowFormat()
FORMATS = [LOW, HIGH, RAW]


class Recorder(Actions):
    """What clients were told, as they would know it."""

    def __init__(self) -> None:
        self.attached: dict[tuple[str, FlowKey], str] = {}
        self.running: dict[str, tuple[bool, frozenset[str], frozenset[str]]] = {}
        self.obsolete: dict[str, str] = {}
        self.inconvertible: set[str] = set()
        self.count = 0
        self.told = 0  # how often a provider was told the same again

    def attach(self, flow: Flow, subscription: Subscription) -> None:
        self.count += 1
        self.attached[subscription.id, flow.key] = flow.id

    def tell_running(
        self, flow: Flow, running: bool, stopped_by: frozenset[str], started_by: frozenset[str]
    ) -> None:
        self.count += 1
        news = running, stopped_by, started_by
        self.told += self.running.get(flow.id) == news
        self.running[flow.id] = news

    def tell_obsolete(self, flow: Flow, by: str) -> None:
        self.count += 1
        assert flow.id not in self.obsolete, "told twice"
        self.obsolete[flow.id] = by

    def tell_inconvertible(self, subscription: Subscription, reason: str) -> None:
        self.inconvertible.add(subscription.id)

    def target(self, source: FlowFormat, wanted: FlowFormat) -> FlowFormat:
        if source.type != wanted.type or source.type == "RAW":
            raise FlowConversionError("it cannot be done")
        return wanted

    def rearranged(self, key: FlowKey) -> None:
        pass


def flow(id: str, client: str = "ann", started: int = 0, **options: Any) -> Flow:
    return Flow(id, client, KEYS[0], RAW, started=started, options=ProviderOptions(**options))


def subscription(id: str, client: str = "bob", signal: bool | None = None) -> Subscription:
    made = Subscription(id, client, PATTERNS[0], None)
    made.signal = signal
    return made


class Providing:
    """A provider as the model knows it."""

    def __init__(
        self, id: str, client: str, key: FlowKey, format: FlowFormat, started: int
    ) -> None:
        self.id = id
        self.client = client
        self.key = key
        self.format = format
        self.started = started
        self.options = ProviderOptions()
        self.variant = ""
        self.remote = False
        self.begun = False

    @property
    def rank(self) -> tuple[int, str]:
        return self.started, self.id

    def flow(self) -> Flow:
        return Flow(
            self.id,
            self.client,
            self.key,
            self.format,
            started=self.started,
            variant=self.variant,
            options=self.options,
            remote=self.remote,
            begun=self.begun,
        )


class Wanting:
    """A consumer as the model knows it."""

    def __init__(
        self, id: str, client: str, pattern: FlowPattern, wanted: FlowFormat | None
    ) -> None:
        self.id = id
        self.client = client
        self.pattern = pattern
        self.wanted = wanted
        self.own = client == SERVER
        self.signal: bool | None = None


class BrokerMachine(RuleBasedStateMachine):
    """Clients and servers come, go and say things; the model says what must follow."""

    flows = Bundle("flows")
    subscriptions = Bundle("subscriptions")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.provided: dict[str, Providing] = {}
        self.wanting: dict[str, Wanting] = {}
        self.claims: dict[FlowKey, Claim] = {}
        self.elsewhere: dict[tuple[FlowKey, str], tuple[frozenset[str], frozenset[str]]] = {}

    @initialize()
    def begin(self) -> None:
        self.recorder = Recorder()
        self.broker = Broker(self.recorder)

    def _id(self) -> str:
        self.number += 1
        return f"{self.number:04}"

    # Providers

    @rule(
        target=flows,
        client=st.sampled_from(CLIENTS),
        key=st.sampled_from(KEYS),
        format=st.sampled_from(FORMATS),
        started=st.integers(0, 5),
        control=st.booleans(),
        wait=st.integers(0, 2),
    )
    def provide(
        self,
        client: str,
        key: FlowKey,
        format: FlowFormat,
        *,
        started: int,
        control: bool,
        wait: int,
    ) -> str:
        made = Providing(self._id(), client, key, format, started)
        made.options = ProviderOptions(allow_flow_control=control, wait_clients=wait)
        self.provided[made.id] = made
        self.broker.provide(made.flow())
        with pytest.raises(FlowRefusedError):
            self.broker.provide(made.flow())
        return made.id

    @rule(
        target=flows,
        client=st.sampled_from(CLIENTS),
        key=st.sampled_from(KEYS),
        made=st.sampled_from([LOW, HIGH]),
    )
    def convert(self, client: str, key: FlowKey, made: FlowFormat) -> str:
        variant = Providing(self._id(), client, key, made, 0)
        variant.variant = str(made)
        self.provided[variant.id] = variant
        self.broker.provide(variant.flow())
        return variant.id

    @rule(key=st.sampled_from(KEYS))
    def bring_in(self, key: FlowKey) -> None:
        claim = self.claims.get(key)
        if claim is None or claim.flow in self.provided:
            return
        assert self.broker.wanted_from_elsewhere(key) in {None, claim}
        brought = Providing(claim.flow, SERVER, key, RAW, claim.rank[0])
        brought.options = ProviderOptions(allow_flow_control=True)
        brought.remote = True
        self.provided[brought.id] = brought
        self.broker.provide(brought.flow())

    @rule(id=flows, mistaken=st.booleans())
    def withdraw(self, id: str, mistaken: bool) -> None:
        made = self.provided.get(id)
        if made is None or mistaken:
            with pytest.raises(FlowRefusedError):
                self.broker.withdraw(id, "somebody else")
        else:
            self.broker.withdraw(id, made.client)
            self._forget(id)

    def _forget(self, id: str) -> None:
        del self.provided[id]
        self.recorder.running.pop(id, None)
        for known, attached in list(self.recorder.attached.items()):
            if attached == id:
                del self.recorder.attached[known]

    # Consumers

    @rule(
        target=subscriptions,
        client=st.sampled_from(CLIENTS),
        pattern=st.sampled_from(PATTERNS),
        wanted=st.sampled_from([None, LOW, HIGH, RAW]),
    )
    def subscribe(self, client: str, pattern: FlowPattern, wanted: FlowFormat | None) -> str:
        made = Wanting(self._id(), client, pattern, wanted)
        self.wanting[made.id] = made
        asked = Subscription(made.id, client, pattern, wanted)
        asked.own = made.own
        self.broker.subscribe(asked)
        return made.id

    @rule(id=subscriptions)
    def unsubscribe(self, id: str) -> None:
        made = self.wanting.get(id)
        if made is None:
            with pytest.raises(FlowRefusedError):
                self.broker.unsubscribe(id, "ann")
        else:
            self.broker.unsubscribe(id, made.client)
            self._forget_subscription(id)

    def _forget_subscription(self, id: str) -> None:
        del self.wanting[id]
        for known in [known for known in self.recorder.attached if known[0] == id]:
            del self.recorder.attached[known]

    @rule(id=subscriptions, start=st.booleans())
    def signal(self, id: str, start: bool) -> None:
        made = self.wanting.get(id)
        if made is None:
            return
        refused = not start and any(
            chosen is not None
            and made.pattern.matches(key)
            and not chosen.options.allow_flow_control
            for key, chosen in self._all_chosen()
        )
        if refused:
            with pytest.raises(FlowRefusedError):
                self.broker.signal(id, made.client, start=start)
            return
        self.broker.signal(id, made.client, start=start)
        made.signal = start
        before = self.recorder.count
        self.broker.signal(id, made.client, start=start)
        assert self.recorder.count == before, "a redundant signal"

    @rule(id=subscriptions, key=st.sampled_from(KEYS))
    def lose(self, id: str, key: FlowKey) -> None:
        made = self.wanting.get(id)
        attached = self.recorder.attached.get((id, key))
        if made is not None and attached:
            lost = self.recorder.attached.pop((id, key))
            assert self.broker.has_lost(made.client, id, lost)
            self.broker.lost(id, made.client, lost)
        else:
            before = self.recorder.count
            self.broker.lost(id, "nobody", "none")
            assert self.recorder.count == before

    # Clients and machines

    @rule(client=st.sampled_from(CLIENTS), rarely=st.integers(0, 3))
    def go(self, client: str, rarely: int) -> None:
        if rarely == 3:  # else there is never much to see
            self.leave(client)

    def leave(self, client: str) -> None:
        flows = {id for id, made in self.provided.items() if made.client == client}
        assert {left.id for left in self.broker.leave(client)} == flows
        for id in flows:
            self._forget(id)
        for id in [id for id, made in self.wanting.items() if made.client == client]:
            self._forget_subscription(id)

    @rule(
        key=st.sampled_from(KEYS),
        started=st.none() | st.integers(0, 5),
        id=st.sampled_from(["0000", "9999"]),
    )
    def claim(self, key: FlowKey, started: int | None, id: str) -> None:
        if started is None:
            self.claims.pop(key, None)
            self.broker.claimed(key, None)
        else:
            id = f"{id} {key} {started}"  # a flow has one rank for its life
            self.claims[key] = Claim(id, (started, id))
            self.broker.claimed(key, self.claims[key])
            before = self.recorder.count
            self.broker.claimed(key, self.claims[key])
            assert self.recorder.count == before

    @rule(
        key=st.sampled_from(KEYS),
        server=st.sampled_from(SERVERS),
        stopped=st.frozensets(st.sampled_from(["eve", "fay"])),
        started=st.frozensets(st.sampled_from(["eve", "fay"])),
    )
    def signal_elsewhere(
        self, key: FlowKey, server: str, stopped: frozenset[str], started: frozenset[str]
    ) -> None:
        known = key in self.broker.streams
        self.broker.signalled_elsewhere(key, server, stopped, started)
        if known:
            self.elsewhere[key, server] = stopped, started
        before = self.recorder.count
        self.broker.signalled_elsewhere(key, server, stopped, started)
        assert self.recorder.count == before

    # The server is replaced

    @rule(rng=st.randoms(use_true_random=False))
    def replace(self, rng: Any) -> None:
        """Everything comes again, in any order, and says what it was told."""
        self.leave(SERVER)
        old, self.recorder = self.recorder, Recorder()
        self.broker = Broker(self.recorder)
        self.elsewhere.clear()
        self.recorder.attached.update(old.attached)
        comings: list[Callable[[], None]] = []
        for id, made in list(self.provided.items()):
            if id in old.obsolete:  # it has ended
                self._forget(id)
                continue
            running, stopped_by, started_by = old.running.get(id, (False, NOBODY, NOBODY))
            made.begun |= running
            comings.append(partial(self._come, made, stopped_by, started_by))
        comings += [partial(self._want, made) for made in self.wanting.values()]
        rng.shuffle(comings)
        for come in comings:
            come()
        for key, claim in self.claims.items():
            self.broker.claimed(key, claim)
        told = self.recorder.running.values()
        names = {name for _, stopped_by, started_by in told for name in stopped_by | started_by}
        gone = rng.choice(["nobody", *sorted(names)])
        self.leave(gone)
        for _, chosen in self._all_chosen():
            if chosen is not None:
                _, stopped_by, started_by = self.recorder.running[chosen.id]
                assert gone not in stopped_by | started_by
        for key in KEYS:
            self.broker.forget_remembered(key)

    def _come(
        self, made: Providing, stopped_by: frozenset[str], started_by: frozenset[str]
    ) -> None:
        self.broker.remember(made.key, stopped_by, started_by)
        self.broker.provide(made.flow())
        if stopped_by and made.id in self.recorder.running:
            assert not self.recorder.running[made.id][0], "it runs before its stopper has come"

    def _want(self, made: Wanting) -> None:
        again = Subscription(made.id, made.client, made.pattern, made.wanted)
        again.signal = made.signal
        for key in KEYS:
            if attached := self.recorder.attached.get((made.id, key)):
                again.attached[key] = attached
        self.broker.subscribe(again)

    # What must be so

    def _chosen(self, key: FlowKey) -> Providing | None:
        """The rule: who was started last, and of equals the one with the larger id."""
        claim = self.claims.get(key)
        claimed = claim.flow if claim is not None else None
        standing = [
            made
            for made in self.provided.values()
            if made.key == key and not made.variant and made.id not in self.recorder.obsolete
            if not made.remote or made.id == claimed
        ]
        return max(standing, key=lambda made: made.rank, default=None)

    def _all_chosen(self) -> list[tuple[FlowKey, Providing | None]]:
        return [(key, self._chosen(key)) for key in KEYS]

    def _subscribers(self, key: FlowKey) -> list[Wanting]:
        return [made for made in self.wanting.values() if made.pattern.matches(key)]

    def _lingers(self, id: str) -> bool:
        """What was right before another was chosen."""
        made = self.provided[id]
        return bool(made.variant) or made.remote or id in self.recorder.obsolete

    def _best(self, key: FlowKey) -> Providing | None:
        standing = [m for m in self.provided.values() if m.key == key and not m.variant]
        return max(standing, key=lambda made: made.rank, default=None)

    @invariant()
    def chosen_is_the_one_with_the_highest_rank(self) -> None:
        for key, chosen in self._all_chosen():
            stream = self.broker.streams.get(key)
            assert (chosen.id if chosen else None) == (
                stream.chosen.id if stream and stream.chosen else None
            )
            for made in self.provided.values():
                local = made.key == key and not (made.variant or made.remote)
                if local and chosen and made.rank < chosen.rank:
                    assert made.id in self.recorder.obsolete
        for id in self.recorder.obsolete:
            if (told := self.provided.get(id)) is not None:
                best, claim = self._best(told.key), self.claims.get(told.key)
                by = self.recorder.obsolete[id]
                assert by != id
                assert not told.variant
                assert not told.remote
                if best is told and claim is None:
                    assert by not in self.provided, "the best was told to end"

    @invariant()
    def subscriptions_are_attached_to_what_they_want(self) -> None:
        for key, chosen in self._all_chosen():
            for made in self._subscribers(key):
                stands = self.broker.subscriptions[made.id].attached.get(key)
                assert stands == self.recorder.attached.get((made.id, key))
                if chosen is None:
                    continue
                if made.own and chosen.remote:
                    assert stands != chosen.id, "what was brought in is carried out"
                    continue
                wanted = made.wanted
                if wanted is None or chosen.format.fits(wanted):
                    assert stands == chosen.id
                elif chosen.format.type != wanted.type:
                    assert made.id in self.recorder.inconvertible
                    assert stands is None or self._lingers(stands)
                else:
                    fitting = [
                        m
                        for m in self.provided.values()
                        if m.key == key and m.variant == str(wanted)
                    ]
                    if fitting:
                        assert stands == max(fitting, key=lambda m: m.rank).id
                    else:  # until there is a converter it has what it had
                        assert stands != chosen.id
        for (id, key), attached in self.recorder.attached.items():
            assert self.wanting[id].pattern.matches(key)
            assert self.provided[attached].key == key

    @invariant()
    def providers_run_when_nobody_has_stopped_them_and_enough_have_started_them(self) -> None:
        for key, chosen in self._all_chosen():
            if chosen is None:
                continue
            stopped = {made.client for made in self._subscribers(key) if made.signal is False}
            started = {made.client for made in self._subscribers(key) if made.signal is True}
            for (known, _), (stops, starts) in self.elsewhere.items():
                if known == key:
                    stopped |= stops
                    started |= starts
            if not chosen.options.allow_flow_control:
                stopped = set()
            chosen.begun |= len(started) >= chosen.options.wait_clients
            running, stopped_by, started_by = self.recorder.running[chosen.id]
            assert set(stopped_by) == stopped
            assert set(started_by) == started
            assert running == (chosen.begun and not stopped)
        assert not self.recorder.told

    @invariant()
    def signals_of_machines_end_with_their_stream(self) -> None:
        for key, server in list(self.elsewhere):
            if key not in self.broker.streams:
                del self.elsewhere[key, server]

    @precondition(lambda self: not self.provided and not self.wanting)
    @rule()
    def nothing_remains(self) -> None:
        assert set(self.broker.streams) <= set(self.claims)
        for key in list(self.claims):
            self.claim(key, None, "")
        assert not self.broker.streams
        assert not self.broker.subscriptions
        assert not self.recorder.attached

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        for client in sorted(CLIENTS):
            self.leave(client)
            self.chosen_is_the_one_with_the_highest_rank()
            self.providers_run_when_nobody_has_stopped_them_and_enough_have_started_them()
        self.nothing_remains()


TestBroker = BrokerMachine.TestCase
TestBroker.settings = settings(max_examples=200, stateful_step_count=60)
