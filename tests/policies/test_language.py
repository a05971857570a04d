"""The node language over a real graph: compose, describe, change; all or nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Address, Event, Graph, GraphClosedError, Node, NodeDelegate
from eventgraph.language import (
    Composition,
    CompositionError,
    ConflictError,
    LanguageError,
    LinkFormatError,
    NodeTypeError,
    Registry,
    TextLimitError,
    compose,
    diff,
)
from eventgraph.language.description import MAX_LINKS, MAX_NODES
from eventgraph.testing import Probe, run, wait_idle


class Tone(Node):
    """Offers sound."""

    offers = ("audio/pcm",)
    accepts = ()

    def __init__(self, scope: str, name: str, *, frequency: float = 440.0) -> None:
        super().__init__(scope, name)
        self.frequency = frequency


class Fan(Node):
    """Passes on."""

    passes_on = True

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        self.delegate.broadcast(event)


class Sink(Probe):
    """Takes packets."""

    offers = ()
    accepts = ("audio/rtp",)


class Meter(Probe):
    """Takes sound."""

    accepts = ("audio/pcm",)
    offers = ()

    def __init__(self, scope: str, name: str, *, window: float = 0.4) -> None:
        if window <= 0:
            raise ValueError("window must be above 0")
        super().__init__(scope, name)
        self.window = window


class Encoder(Node):
    """Makes packets of sound."""


class Crashing(Node):
    """Does not come up."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        raise OSError("no disk")


class Lingering(Crashing):
    """Does not come up, and takes its time to leave."""

    async def on_exit(self) -> None:
        await trio.sleep(1.5)


class Slow(Node):
    """Comes up in its own time, or never."""

    def __init__(self, scope: str, name: str, *, seconds: float = 1.0) -> None:
        super().__init__(scope, name)
        self.seconds = seconds

    async def on_enter(self, delegate: NodeDelegate) -> None:
        await trio.sleep(self.seconds)


class Stuck(Node):
    """Does not leave."""

    async def on_exit(self) -> None:
        await trio.sleep_forever()


class Deaf(Node):
    """Does not leave, whatever the time-out: its on_event does not return."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        delegate.deliver_self(Event(1))

    async def on_event(self, event: Event) -> None:
        await trio.sleep_forever()


class Holding(Node):
    """Holds something as soon as it is made."""

    held: list[str] = []

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.held.append(name)

    def discard(self) -> None:
        self.held.remove(self.name)

    def on_exit(self) -> None:
        self.held.remove(self.name)


def registry() -> Registry:
    found = Registry()
    sound = (Tone, Fan, Sink, Meter)
    trouble = (Crashing, Lingering, Slow, Stuck, Deaf)
    for node_class in (*sound, *trouble, Holding, Probe):
        found.register(node_class.__name__.lower(), node_class)
    found.register("encoder", Encoder, converts=("audio/pcm", "audio/rtp"), cost=10)
    return found


REGISTRY = registry()


@asynccontextmanager
async def composing(text: str, **options: Any) -> AsyncIterator[tuple[Graph, Composition]]:
    async with Graph() as graph:
        yield graph, await compose(graph, text, registry=REGISTRY, **options)


def nodes_of(graph: Graph) -> dict[str, str]:
    return {str(node.address): node.type for node in graph.snapshot().nodes}


def links_of(graph: Graph) -> dict[str, int]:
    return {f"{x.sender} -> {x.receiver}": x.id for x in graph.snapshot().links if x.up}


async def refused(graph: Graph, text: str, error: type[LanguageError], *parts: str) -> None:
    """It is, for that reason, and leaves no trace."""
    before = nodes_of(graph), links_of(graph)
    with pytest.raises(error) as caught:
        await compose(graph, text, registry=REGISTRY)
    for part in parts:
        assert part in str(caught.value)
    await wait_idle(graph)
    assert (nodes_of(graph), links_of(graph)) == before
    assert Holding.held == []


# Compose


async def test_text_becomes_nodes_and_links(autojump_clock: trio.testing.MockClock) -> None:
    text = """
        [tone frequency=600] -> [fan] -> {[a:meter window=20ms], [b@lobby:meter]};  # all to all
        {[x:probe], [y:probe]} -> {[z:probe], [w:probe]}
    """
    async with composing(text) as (graph, composition):
        assert nodes_of(graph) == {
            "tone@main": "Tone",
            "fan@main": "Fan",
            "a@main": "Meter",
            "b@lobby": "Meter",
            **{f"{name}@main": "Probe" for name in "xyzw"},
        }
        assert set(links_of(graph)) == {
            "tone@main -> fan@main",
            "fan@main -> a@main",
            "fan@main -> b@lobby",
            *(f"{a}@main -> {b}@main" for a in "xy" for b in "zw"),
        }
        tone = graph.node_at(Address("main", "tone"))
        meter = graph.node_at(Address("main", "a"))
        assert isinstance(tone, Tone)
        assert isinstance(meter, Meter)
        assert (tone.frequency, meter.window) == (600.0, 0.02)
        composition.nodes[Address("main", "tone")].broadcast(Event(1))
        await wait_idle(graph)
        assert meter.events == [Event(1)]


async def test_scope_without_a_name_is_that_of_the_composition() -> None:
    async with composing("[a:probe] -> [b@other:probe]", scope="session-1") as (graph, _):
        assert set(nodes_of(graph)) == {"a@session-1", "b@other"}


async def test_node_of_somebody_else_is_linked_and_left_alone() -> None:
    async with Graph() as graph:
        graph.add_node(Meter("lobby", "meter"))
        composition = await compose(graph, "[tone] -> [meter@lobby]", registry=REGISTRY)
        assert set(links_of(graph)) == {"tone@main -> meter@lobby"}
        assert set(composition.nodes) == {Address("main", "tone")}
        await composition.dissolve()
        assert nodes_of(graph) == {"meter@lobby": "Meter"}


async def test_limits_of_a_node_are_properties() -> None:
    async with composing("[a:probe max_links=3 channel_size=7]") as (graph, _):
        (node,) = graph.snapshot().nodes
        assert (node.max_links, node.channel_size) == (3, 7)


async def test_factory_gets_the_context() -> None:
    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        key: str

    def make(scope: str, name: str, options: Options, context: dict[str, float]) -> Node:
        return Tone(scope, name, frequency=context[options.key])

    types = Registry()
    types.register("tone", Tone, options=Options, make=make)
    async with Graph() as graph:
        await compose(graph, "[t:tone key=a]", registry=types, context={"a": 5.0})
        tone = graph.node_at(Address("main", "t"))
        assert isinstance(tone, Tone)
        assert tone.frequency == 5.0
        with pytest.raises(NodeTypeError, match="'b'"):
            await compose(graph, "[u:tone key=b]", registry=types, context={"a": 5.0})


# Formats


async def test_converter_is_put_between_and_shown() -> None:
    async with composing("[tone] -> [fan] -> {[sink], [meter]}") as (graph, _):
        assert nodes_of(graph)["fan>sink:encoder@main"] == "Encoder"
        assert set(links_of(graph)) == {
            "tone@main -> fan@main",
            "fan@main -> fan>sink:encoder@main",
            "fan>sink:encoder@main -> sink@main",
            "fan@main -> meter@main",
        }


async def test_demanded_format_is_converted_to_before_a_node_that_takes_anything() -> None:
    async with composing("[tone] -<audio/rtp>-> [fan] -> [sink]") as (graph, _):
        assert "tone>fan:encoder@main" in nodes_of(graph)
        assert "fan@main -> sink@main" in links_of(graph)


async def test_formats_go_round_a_cycle_of_nodes_that_pass_on() -> None:
    async with composing("[a:fan] -> [b:fan] -> [a]; [tone] -> [a]; [b] -> [sink]") as (graph, _):
        assert "b>sink:encoder@main" in nodes_of(graph)


async def test_converter_stands_in_the_scope_of_the_receiver() -> None:
    async with composing("[tone] -> [sink@far:sink]") as (graph, _):
        assert "tone@main>sink:encoder@far" in nodes_of(graph)


# All or nothing


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("[a:probe] ->", LanguageError, ["line 1, column 13", "ends too early"]),
        ("[a:prob]", NodeTypeError, ["did you mean 'probe'?", "line 1, column 1"]),
        ("[a]", NodeTypeError, ["there is no node at a@main, and there is no type of node 'a'"]),
        ("[tone frequenzy=1]", NodeTypeError, ["frequenzy", "channel_size, frequency, max_links"]),
        ("[tone frequency=loud]", NodeTypeError, ["frequency is 'loud': expected `float`"]),
        ("[tone max_links=-1]", NodeTypeError, ["max_links is -1"]),
        ("[a:probe]; [meter window=0]", NodeTypeError, ["window must be above 0", "column 12"]),
        ("[tone a=1 a=2]", ConflictError, ["a twice"]),
        ("[a:tone]; [a:fan]", ConflictError, ["is a fan here and a tone in line 1"]),
        ("[a:tone frequency=1];\n[a frequency=2]", ConflictError, ["frequency", "line 2"]),
        ("[x:probe] -> [y:probe]; [x] -> [y]", ConflictError, ["linked to y@main already"]),
        ("[there:probe]", ConflictError, ["a node at there@main already"]),
        ("[there window=1]", ConflictError, ["a node at there@main already"]),
        (
            "[meter] -> [sink]",
            LinkFormatError,
            ["the sender offers nothing and the receiver accepts audio/rtp"],
        ),
        ("[tone] -<video/raw>-> [fan]", LinkFormatError, ["audio/pcm", "video/raw", "encoder"]),
        ("[tone] -<audio/rtp>-> [meter]", LinkFormatError, ["the receiver accepts audio/pcm"]),
        ("[tone max_links=1] -> {[fan], [a:fan]}", ConflictError, ["no room for this link"]),
        ("[there] -> {[a:probe], [b:probe]}", ConflictError, ["no room for this link"]),
        ("[holding] -> [crashing]", CompositionError, ["crashing@main did not come up", "no disk"]),
        ("[holding]; [slow seconds=1min]", CompositionError, ["not returned within 5 s"]),
        ("[holding]; [meter window=-1]", NodeTypeError, ["window must be above 0"]),
        ("[tone] -> [sink]; ['tone>sink:encoder':probe]", ConflictError, ["already"]),
    ],
)
async def test_text_that_does_not_work_leaves_nothing(
    text: str, error: type[LanguageError], parts: list[str], autojump_clock: object
) -> None:
    async with Graph() as graph:
        there = Probe("main", "there")
        there.max_links = 1
        graph.add_node(there)
        graph.add_node(Probe("main", "near"))
        await refused(graph, text, error, *parts)


async def test_error_has_a_caret_under_the_place() -> None:
    async with Graph() as graph:
        with pytest.raises(LanguageError) as caught:
            await compose(graph, "[tone] ->\n    [nobody]", registry=REGISTRY)
        assert str(caught.value).splitlines()[1:] == ["        [nobody]", "        ^"]


async def test_text_that_asks_for_too_much_is_refused() -> None:
    many = "".join(f"[{number}:fan];" for number in range(MAX_NODES + 1))
    side = ",".join(f"[{{0}}{number}:fan]" for number in range(int(MAX_LINKS**0.5) + 1))
    square = "{" + side.replace("{0}", "a") + "} -> {" + side.replace("{0}", "b") + "}"
    async with Graph() as graph:
        await refused(graph, many, TextLimitError, "1000 nodes")
        await refused(graph, square, TextLimitError, "4000 links")


async def test_closed_graph_is_an_error_of_its_own() -> None:
    async with Graph() as graph:
        pass
    with pytest.raises(GraphClosedError):
        await compose(graph, "[tone]", registry=REGISTRY)


async def test_cancelled_change_is_undone(autojump_clock: object) -> None:
    async with Graph() as graph:
        composition = await compose(graph, "[tone] -> [meter]", registry=REGISTRY)
        before = nodes_of(graph), links_of(graph)
        with trio.move_on_after(1) as waiting:
            await composition.apply("[tone frequency=1] -> [meter]; [slow seconds=3]")
        assert waiting.cancelled_caught
        assert (nodes_of(graph), links_of(graph)) == before


# Change


async def test_what_is_in_both_texts_is_untouched() -> None:
    text = "[tone] -> [fan] -> {[a:meter], [b:meter window=1]}"
    async with composing(text) as (graph, composition):
        before = links_of(graph)
        kept = graph.node_at(Address("main", "a"))
        change = await composition.apply(
            "[fan] -> {[b:meter window=2s], [c:meter]};[tone frequency=440.0] -> [fan] -> [a:meter]"
        )
        assert change.added == (Address("main", "c"),)
        assert change.replaced == (Address("main", "b"),)
        assert change.removed == ()
        after = links_of(graph)
        assert set(after) - set(before) == {"fan@main -> c@main"}
        for link in ("tone@main -> fan@main", "fan@main -> a@main"):
            assert after[link] == before[link]
        assert after["fan@main -> b@main"] != before["fan@main -> b@main"]
        assert graph.node_at(Address("main", "a")) is kept
        replaced = graph.node_at(Address("main", "b"))
        assert isinstance(replaced, Meter)
        assert replaced.window == 2.0


async def test_same_text_changes_nothing() -> None:
    text = "[tone] -> [fan] -> {[a:meter], [sink]}"
    async with composing(text) as (_, composition):
        assert not composition.difference(text)
        assert (await composition.apply(text)).to_text() == "no change\n"
        assert not composition.difference(composition.describe())


async def test_node_that_leaves_has_its_events_handled(autojump_clock: object) -> None:
    async with composing("[a:fan] -> [b:fan] -> [c:probe]") as (graph, composition):
        probe = graph.node_at(Address("main", "c"))
        assert isinstance(probe, Probe)
        for number in range(50):
            composition.nodes[Address("main", "a")].deliver_self(Event(number))
        await composition.apply("[c:probe]")
        await wait_idle(graph)
        assert [event.cmd for event in probe.events] == list(range(50))
        assert nodes_of(graph) == {"c@main": "Probe"}


async def test_full_table_can_be_rewired_in_one_change() -> None:
    text = "[a:fan max_links=1] -> [b:probe]; [c:probe]"
    async with composing(text) as (graph, composition):
        await composition.apply("[a:fan max_links=1] -> [c:probe]; [b:probe]")
        assert set(links_of(graph)) == {"a@main -> c@main"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[a:fan] -> [crashing]", "no disk"),
        ("[a:crashing] -> [b:meter]", "no disk"),
        ("[a:fan] -> [b:slow]; [c:lingering]; [d:fan] -> [a]", "no disk"),
        ("[a:fan max_links=0] -> [b:meter]", "no room"),
        ("[stuck]; [a:fan] -> [b:meter window=7]; [c:crashing]", "no disk"),
    ],
)
async def test_change_that_fails_is_undone(text: str, part: str, autojump_clock: object) -> None:
    async with composing("[a:fan] -> [b:meter]; [c:holding]; [d:fan] -> [a]") as (
        graph,
        composition,
    ):
        before = nodes_of(graph), set(links_of(graph))
        kept = links_of(graph)["d@main -> a@main"]
        with pytest.raises(LanguageError, match=part):
            await composition.apply(text)
        await wait_idle(graph)
        assert (nodes_of(graph), set(links_of(graph))) == before
        if ":crashing] ->" not in text:
            assert links_of(graph)["d@main -> a@main"] == kept
        assert Holding.held == ["c"]
    assert Holding.held == []


async def test_node_that_does_not_leave_fails_the_change(autojump_clock: object) -> None:
    async with composing("[a:deaf]; [b:fan]") as (graph, composition):
        with pytest.raises(CompositionError, match="have not left: a@main"):
            await composition.apply("[b:fan]; [c:fan]")
        assert set(nodes_of(graph)) == {"a@main", "b@main"}


async def test_node_that_does_not_leave_does_not_keep_a_change_from_being_undone(
    autojump_clock: object,
) -> None:
    async with composing("[a:fan]") as (graph, composition):
        with pytest.raises(CompositionError, match="no disk"):
            await composition.apply("[d:deaf] -> [b:fan] -> [c:crashing]")
        assert {n.name: d.state for n, d in composition.nodes.items()} == {"a": "running"}
        assert set(nodes_of(graph)) == {"a@main", "d@main"}  # it is leaving still


async def test_crashed_node_is_made_again_by_the_same_text(autojump_clock: object) -> None:
    text = "[tone] -> [meter]"
    async with composing(text) as (graph, composition):
        composition.nodes[Address("main", "meter")].request_exit()
        await wait_idle(graph)
        assert composition.describe() == "[tone:tone]\n"
        change = await composition.apply(text)
        assert change.added == (Address("main", "meter"),)
        assert set(links_of(graph)) == {"tone@main -> meter@main"}


async def test_node_that_is_to_restart_is_made_anew_with_its_links(autojump_clock: object) -> None:
    class Fragile(Fan):
        def on_event(self, event: Event) -> None:
            if event.cmd == 13:
                raise ValueError("poison")
            super().on_event(event)

    types = registry()
    types.register("fragile", Fragile)
    text = "[tone] -> [f:fragile restart=true channel_size=7] -> [meter]"
    async with Graph() as graph:
        composition = await compose(graph, text, registry=types)
        before, tone = links_of(graph), composition.nodes[Address("main", "tone")]
        first = graph.node_at(Address("main", "f"))
        tone.broadcast(Event(13))
        await wait_idle(graph)
        assert graph.node_at(Address("main", "f")) is not first
        assert links_of(graph) == before
        assert tone.broadcast(Event(1)) == 1
        await wait_idle(graph)
        meter = graph.node_at(Address("main", "meter"))
        assert isinstance(meter, Meter)
        assert meter.events == [Event(1)]
        assert "restart=true" in composition.describe()
        change = await composition.apply(text)  # it is the same node as ever
        assert not change
        await composition.apply("[tone] -> [meter]")
        assert set(nodes_of(graph)) == {"tone@main", "meter@main"}


async def test_link_taken_down_by_hand_comes_back_with_the_text() -> None:
    async with composing("[tone] -> [meter]") as (graph, composition):
        graph.link_down(Address("main", "tone"), Address("main", "meter"))
        assert composition.describe() == "[tone:tone];\n[meter:meter]\n"
        await composition.apply("[tone] -> [meter]")
        assert set(links_of(graph)) == {"tone@main -> meter@main"}


async def test_link_put_up_by_hand_is_not_taken_over() -> None:
    async with composing("[tone]; [meter]") as (graph, composition):
        graph.link_up(Address("main", "tone"), Address("main", "meter"))
        with pytest.raises(ConflictError, match="not by this text"):
            await composition.apply("[tone] -> [meter]")
        await composition.apply("[tone]; [meter]; [fan]")
        assert set(links_of(graph)) == {"tone@main -> meter@main"}


async def test_changes_wait_for_each_other(autojump_clock: object) -> None:
    async with composing("[tone]") as (graph, composition), trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(composition.apply, f"[tone]; [s:slow seconds={number}.5]")
    assert set(nodes_of(graph)) == set()


def test_difference_of_two_texts_needs_no_graph() -> None:
    change = diff("[tone] -> [fan]", "[tone frequency=1] -> [fan] -> [sink]", REGISTRY)
    assert change.to_text().splitlines() == [
        "~ [tone@main]",
        "+ [sink@main]",
        "+ ['fan>sink:encoder'@main]",
        "- [tone@main] -> [fan@main]",
        "+ [tone@main] -> [fan@main]",
        "+ [fan@main] -> ['fan>sink:encoder'@main]",
        "+ ['fan>sink:encoder'@main] -> [sink@main]",
    ]
    with pytest.raises(NodeTypeError, match=r"column 1.*\n.*\[nobody\]"):
        diff("[tone]", "[nobody]", REGISTRY)


# Round trip

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
NODE = st.tuples(st.sampled_from(["s", "日本", "a b"]), NAMES)
PROPERTIES: dict[str, st.SearchStrategy[dict[str, float]]] = {
    "tone": st.fixed_dictionaries({}, optional={"frequency": st.floats(1, 1e6)}),
    "meter": st.fixed_dictionaries({}, optional={"window": st.integers(1, 9)}),
}


@st.composite
def texts(draw: st.DrawFn) -> str:
    from eventgraph.language import NodeMention, Property, Stage, Statement, Text, format_text

    types = st.sampled_from(["tone", "fan", "sink", "meter", "probe"])
    addresses = draw(st.lists(NODE, min_size=1, max_size=8, unique=True))
    chosen = {address: draw(types) for address in addresses}
    statements = []
    for (scope, name), kind in chosen.items():
        given = draw(PROPERTIES.get(kind, st.just({})))
        items = tuple(Property(key, value) for key, value in given.items())
        mention = NodeMention(name, scope, kind, items)
        statements.append(Statement((Stage((mention,)),)))
    senders = [a for a in addresses if chosen[a] in {"tone", "fan", "probe"}]
    receivers = [a for a in addresses if chosen[a] != "tone"]
    pairs = [(a, b) for a in senders for b in receivers]
    for a, b in draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []:
        ends = (Stage((NodeMention(a[1], a[0]),)), Stage((NodeMention(b[1], b[0]),)))
        statements.append(Statement(ends))
    return format_text(Text(tuple(statements)))


@given(texts())
def test_text_to_graph_to_text_to_the_same_graph(text: str) -> None:
    async def main() -> None:
        async with Graph() as first, Graph() as second:
            try:
                one = await compose(first, text, registry=REGISTRY)
            except LinkFormatError:
                return  # a cycle of nodes that pass on may carry what nobody can take
            described = one.describe()
            two = await compose(second, described, registry=REGISTRY)
            assert two.describe() == described
            assert nodes_of(first) == nodes_of(second)
            assert set(links_of(first)) == set(links_of(second))
            assert not one.difference(described)
            assert not one.difference(text)
            plans = one.running(), two.running()
            for address, node in plans[0].nodes.items():
                assert node.is_like(plans[1].nodes[address])

    run(main)
