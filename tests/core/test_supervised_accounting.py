"""Hypothesis against supervision: each event and each life is accounted for, whatever crashes."""

from functools import partial

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph import Address, Event, Graph, Level, Node, NodeDelegate, NodeState, RestartPolicy
from eventgraph.testing import run

NAMES = "abc"
PLAIN, POISON, LEAVE, LATE_POISON = range(4)


class Life(Node):
    """Counts; crashes or leaves when it is told to."""

    channel_size = 3

    def __init__(self, name: str) -> None:
        super().__init__("s", name)
        self.handled = self.exits = 0
        self.fuse = False
        self.delegate: NodeDelegate | None = None

    def on_enter(self, delegate: NodeDelegate) -> None:
        assert not self.exits
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        assert self.delegate is not None
        assert not self.exits
        self.handled += 1
        if event.cmd == POISON:
            raise ValueError
        if event.cmd == LEAVE:
            self.delegate.request_exit()
        self.fuse = event.cmd == LATE_POISON

    def on_exit(self) -> None:
        self.exits += 1
        if self.fuse:
            raise ValueError


class AsyncLife(Life):
    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.lowlevel.checkpoint()
        super().on_event(event)


names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("deliver"), names, names, st.sampled_from([PLAIN] * 4 + [1, 2, 3])),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.005, 0.05, 1.0])),
    st.tuples(st.just("link"), names, names),
    st.tuples(st.just("unlink"), names, names),
    st.tuples(st.just("leave"), names),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(steps, max_size=40),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.sampled_from([Level.NODE, Level.SCOPE]),
)
def test_each_event_and_each_life_is_accounted_for(
    steps: list[tuple[object, ...]], with_task: list[bool], escalate: Level
) -> None:
    run(_live, steps, with_task, escalate)


async def _live(steps: list[tuple[object, ...]], with_task: list[bool], escalate: Level) -> None:
    built: list[Life] = []
    offered = refused = 0

    def build(kind: type[Life], name: str) -> Life:
        built.append(kind(name))
        return built[-1]

    policy = RestartPolicy(max_restarts=2, period=60, backoff=0.01, escalate=escalate)
    async with Graph() as graph:
        delegates = {
            name: graph.supervise(partial(build, AsyncLife if task else Life, name), policy)
            for name, task in zip(NAMES, with_task, strict=True)
        }
        links: dict[tuple[str, str], int] = {}
        for sender in NAMES:
            for receiver in NAMES:
                links[sender, receiver] = delegates[sender].request_link_up("s", receiver)
        for what, *arguments in steps:
            match what, arguments:
                case "deliver", [str(sender), str(receiver), int(cmd)]:
                    offered += 1
                    refused += not delegates[sender].deliver(links[sender, receiver], Event(cmd))
                case "wait", [float(seconds)]:
                    await trio.sleep(seconds)
                case "leave", [str(name)]:
                    delegates[name].request_exit()
                case _, [str(sender), str(receiver)]:
                    ends = Address("s", sender), Address("s", receiver)
                    if what == "unlink" and graph.is_linked(*ends):
                        graph.link_down(*ends)
                    elif what == "link" and graph.can_link(*ends):
                        links[sender, receiver] = graph.link_up(*ends)
            totals = graph.snapshot().totals
            assert totals.offered == offered
            assert totals.offered == totals.handled + totals.queued + sum(totals.dropped.values())
            assert totals.handled >= sum(life.handled for life in built)
        await trio.sleep(10)
        totals = graph.snapshot().totals
        assert totals.queued == 0
        assert totals.handled == sum(life.handled for life in built)
        assert refused <= sum(totals.dropped.values())
        standing = {node.address.name: node for node in graph.snapshot().nodes}
        for name in NAMES:
            lives = [life for life in built if life.name == name]
            assert [life.exits for life in lives[:-1]] == [1] * (len(lives) - 1)
            assert lives[-1].exits == (name not in standing)
            if name in standing:
                assert standing[name].state == NodeState.RUNNING
    assert all(life.exits == 1 for life in built)
