"""Links of a supervised node from life to life, of which each asks for some and not for others."""

import gc
import logging
import random
import weakref
from collections.abc import Sequence
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from eventgraph import (
    Address,
    Event,
    Graph,
    GraphError,
    LinkNotFoundError,
    Node,
    NodeDelegate,
    RestartPolicy,
)
from eventgraph.observer import Observer
from eventgraph.testing import Probe, run, wait_idle

NAMES = "abcd"
V = Address("s", "v")
MAX_LINKS = 3
POISON = Event(13)
DELAY = 0.01  # seconds from a crash to the next life
POLICY = RestartPolicy(max_restarts=1000, period=0.001, backoff=DELAY, jitter=0)


class Life(Node):
    """Knows its links as any node does: by what it asked for, and by what it is told."""

    max_links = MAX_LINKS

    def __init__(self, wishes: Sequence[str], faults: list[str]) -> None:
        super().__init__("s", "v")
        self.known: dict[int, str] = {}
        self.delegate: NodeDelegate
        self._wishes = wishes
        self._faults = faults

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        for name in self._wishes:
            self.ask(name)

    def ask(self, name: str) -> None:
        try:
            link = self.delegate.request_link_up("s", name)
        except GraphError:
            return
        if self.known.setdefault(link, name) != name:
            self._faults.append(f"{link} is for {name}, and was for {self.known[link]}")

    def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        if self.known.setdefault(link_id, name) != name:
            self._faults.append(f"{link_id} is told for {name}, and was for {self.known[link_id]}")

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        if self.known.pop(link_id, None) != name:
            self._faults.append(f"told that {link_id} is down, and never that it was up")

    def on_event(self, event: Event) -> None:
        if event == POISON:
            raise ValueError("poison")


class SlowLife(Life):
    """The same, but takes its time, in a task of its own."""

    async def on_enter(self, delegate: NodeDelegate) -> None:  # type: ignore[override]
        await trio.sleep(DELAY / 2)
        super().on_enter(delegate)
        await trio.sleep(DELAY / 2)


class Downs(Observer):
    """Each link that went down, whoever was told."""

    def __init__(self) -> None:
        self.downs = 0

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        self.downs += sender == V


names = st.sampled_from(NAMES)
pauses = st.sampled_from([0.0, DELAY / 4, 1.5 * DELAY, 3 * DELAY])
actions = st.sampled_from(["crash", "leave", "come", "up", "down", "ask", "drop", "deliver"])
Step = tuple[str, str, float]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(actions, names, pauses), max_size=40),
    st.lists(st.lists(names, max_size=4), min_size=1, max_size=5),
    st.sampled_from([Life, SlowLife]),
)
def test_each_life_knows_the_links_that_stand(
    steps: list[Step], wishes: list[list[str]], kind: type[Life]
) -> None:
    run(_live, steps, wishes, kind)


async def _live(steps: list[Step], wishes: list[list[str]], kind: type[Life]) -> None:
    lives: list[Life] = []
    faults: list[str] = []
    seen: set[int] = set()  # links of all lives

    def build() -> Life:
        lives.append(kind(wishes[len(lives) % len(wishes)], faults))
        return lives[-1]

    async with Graph() as graph:
        observer = Downs()
        graph.observe(observer)
        others = {name: graph.add_node(Probe("s", name)) for name in NAMES}
        delegate = graph.supervise(build, POLICY)
        for action, name, pause in steps:
            to, other = Address("s", name), others[name]
            link = next((link for link, end in delegate.links.items() if end == to), None)
            if action == "crash":
                delegate.deliver_self(POISON)
            elif action == "leave":
                other.request_exit()
            elif action == "come" and other.state == "exited":
                others[name] = graph.add_node(Probe("s", name))
            elif action == "up" and graph.can_link(V, to) and graph.free_links(V):
                graph.link_up(V, to)
            elif action == "down" and link is not None:
                graph.link_down(V, to)
            elif action == "ask" and delegate.state == "running":
                lives[-1].ask(name)
            elif action == "drop" and link is not None:
                lives[-1].known[link] = name  # who takes it down by its id knows of it
                delegate.request_link_down(link)
            elif action == "deliver" and link is not None:
                delegate.deliver(link, Event(1))
            seen |= set(delegate.links)
            await trio.sleep(pause)
            seen |= set(delegate.links)
            assert observer.downs == len(seen) - len(delegate.links)
            assert len(delegate.links) <= MAX_LINKS
            assert links_of_v(graph) == delegate.links
        await trio.sleep(10 * DELAY)
        await wait_idle(graph)
        assert faults == []
        assert lives[-1].known == {link: to.name for link, to in delegate.links.items()}
        assert links_of_v(graph) == delegate.links
        assert graph.free_links(V) == MAX_LINKS - len(delegate.links)
        totals = graph.snapshot().totals
        assert totals.offered == totals.handled + sum(totals.dropped.values())


def links_of_v(graph: Graph) -> dict[int, Address]:
    """As the snapshot shows them."""
    links = graph.snapshot().links
    return {link.id: link.receiver for link in links if link.sender == V and link.up}


@pytest.mark.parametrize("kind", [Life, SlowLife])
def test_a_thousand_lives_leave_nothing_but_the_last(
    kind: type[Life], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor do receivers stay whose links no life has asked for again."""
    caplog.set_level(logging.CRITICAL, "eventgraph")  # what is captured keeps its tracebacks
    run(_live_long, kind)


async def _live_long(kind: type[Life]) -> None:
    dice = random.Random(7)
    faults: list[str] = []
    lives: list[weakref.ref[Life]] = []
    gone: list[weakref.ref[Probe]] = []

    def build() -> Life:
        life = kind(dice.sample(NAMES, dice.randrange(MAX_LINKS)), faults)
        lives.append(weakref.ref(life))
        return life

    async with Graph() as graph:
        others = {name: graph.add_node(Probe("s", name)) for name in NAMES}
        delegate = graph.supervise(build, POLICY)
        for number in range(1000):
            await trio.sleep(DELAY)
            delegate.deliver_self(POISON)
            await trio.sleep(dice.choice([0.0, DELAY, 2 * DELAY]))
            if number % 10 == 0:
                name = dice.choice(NAMES)
                others[name].request_exit()
                await others[name].wait_exited()
                probe = Probe("s", name)
                gone.append(weakref.ref(probe))
                others[name] = graph.add_node(probe)
        del probe
        await trio.sleep(10 * DELAY)
        await wait_idle(graph)
        assert len(lives) > 300
        assert faults == []
        life = lives[-1]()
        assert life is not None
        assert life.known == {link: to.name for link, to in delegate.links.items()}
        assert links_of_v(graph) == delegate.links
        gc.collect()
        assert sum(ref() is not None for ref in lives) <= 2  # the last crash has its traceback
        assert sum(ref() is not None for ref in gone) <= len(NAMES)


async def test_link_that_no_life_asks_for_again_goes_with_its_receiver(
    autojump_clock: MockClock,
) -> None:
    probe = Probe("s", "a")
    gone = weakref.ref(probe)
    async with Graph() as graph:
        other = graph.add_node(probe)
        del probe
        delegate = graph.supervise(partial(Life, "", []), POLICY)
        graph.link_up(V, Address("s", "a"))
        delegate.deliver_self(POISON)
        await wait_idle(graph)
        assert len(delegate.links) == 1
        other.request_exit()
        await other.wait_exited()
        del other
        await wait_idle(graph)
        gc.collect()
        assert gone() is None


async def test_life_that_has_not_begun_is_not_told_of_a_link_that_it_never_knew(
    autojump_clock: MockClock,
) -> None:
    faults: list[str] = []
    async with Graph() as graph:
        graph.add_node(Probe("s", "a"))
        delegate = graph.supervise(partial(SlowLife, "", faults), POLICY)
        await delegate.wait_entered()
        link = graph.link_up(V, Address("s", "a"))
        delegate.deliver_self(POISON)
        await trio.sleep(1.5 * DELAY)
        assert delegate.state == "entering"
        graph.link_down(V, Address("s", "a"))
        await wait_idle(graph)
        assert faults == []
        assert not delegate.deliver(link, Event(1))
        with pytest.raises(LinkNotFoundError, match="gone already"):
            delegate.request_link_down(link)


async def test_life_may_take_down_a_link_of_the_one_before_and_is_told(
    autojump_clock: MockClock,
) -> None:
    class Tidy(Probe):
        def on_enter(self, delegate: NodeDelegate) -> None:
            super().on_enter(delegate)
            for link in delegate.links:
                delegate.request_link_down(link)

        def on_event(self, event: Event) -> None:
            raise ValueError

    lives: list[Tidy] = []

    def build() -> Tidy:
        lives.append(Tidy("s", "v"))
        return lives[-1]

    async with Graph() as graph:
        graph.add_node(Probe("s", "a"))
        delegate = graph.supervise(build, POLICY)
        link = delegate.request_link_up("s", "a")
        await wait_idle(graph)
        assert list(delegate.links) == []  # it was asked for before on_enter
        link = delegate.request_link_up("s", "a")
        delegate.deliver_self(POISON)
        await wait_idle(graph)
        assert lives[-1].links_down == [(link, "s", "a")]
        assert lives[-1].links_up == []
