"""Views of a snapshot: nothing is lost in JSON, nothing in a name breaks a drawing."""

import re
import subprocess
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventgraph import (
    Address,
    Counts,
    Event,
    Graph,
    GraphSnapshot,
    LinkSnapshot,
    Node,
    NodeSnapshot,
    NodeState,
    views,
)

AWKWARD = 'a "b" <c> & #35; ]end\n`d` \\N \\" | 日本 🎵 \x1b[31m \u202e'


def node_at(address: Address, state: str = "running", queued: int = 0) -> NodeSnapshot:
    return NodeSnapshot(
        address=address,
        type="Meter",
        state=state,
        inputs=0,
        outputs=0,
        max_links=16,
        channel_size=128,
        queued=queued,
        waiting=0,
        to_self=Counts(),
        from_threads=Counts(),
    )


def graph_of(*nodes: NodeSnapshot, links: tuple[LinkSnapshot, ...] = ()) -> GraphSnapshot:
    return GraphSnapshot(list(nodes), list(links), Counts(), 0, [])


TONE = Address("demo", "tone")
METER = Address("demo", "meter")
SINK = Address("echo", "sink")
COUNTS = Counts(offered=2012, handled=2000, queued=2, dropped={"full": 9, "crashed": 1})
PAIR = graph_of(
    node_at(TONE), node_at(METER, queued=2), links=(LinkSnapshot(1, TONE, METER, True, COUNTS),)
)


class Failing(Node):
    def on_event(self, event: Event) -> None:
        raise ValueError(f"no {event.cmd}\nat all")


async def test_snapshot_of_a_real_graph_comes_back_from_json() -> None:
    async with Graph() as graph:
        source = graph.add_node(Node("demo", "source"))
        failing = graph.add_node(Failing("demo", AWKWARD))
        link = source.request_link_up("demo", AWKWARD)
        source.deliver(link, Event(7))
        await failing.wait_exited()
        snapshot = graph.snapshot()
    assert snapshot.crash_count == 1
    assert views.from_json(views.to_json(snapshot)) == snapshot


def test_json_of_a_name_that_is_no_text_can_still_be_read() -> None:
    snapshot = graph_of(node_at(Address("demo", "half \ud800")))
    assert views.from_json(views.to_json(snapshot)).nodes[0].address.name == "half ?"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"nodes": 3}'])
def test_json_of_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        views.from_json(data)


def test_empty_graph_has_every_view() -> None:
    empty = graph_of()
    assert views.to_text(empty).startswith("0 nodes, 0 links, 0 crashes\n")
    assert views.to_mermaid(empty) == "flowchart LR\n"
    assert views.to_dot(empty).startswith("digraph eventgraph {")


def test_text_shows_each_node_with_state_queue_and_links() -> None:
    assert views.to_text(PAIR).splitlines()[3:] == [
        "demo",
        "  tone   Meter  running  queue 0/128",
        "      → meter  2,000 handled, 2 queued, 10 dropped (9 full, 1 crashed)",
        "  meter  Meter  running  queue 2/128",
    ]


def test_text_names_the_scope_of_a_receiver_elsewhere() -> None:
    link = LinkSnapshot(1, TONE, SINK, False, Counts())
    text = views.to_text(graph_of(node_at(TONE), node_at(SINK), links=(link,)))
    assert "→ sink@echo  0 handled  (going down)" in text


async def test_text_tells_of_crashes() -> None:
    async with Graph() as graph:
        failing = graph.add_node(Failing("demo", "failing"))
        failing.deliver_self(Event(7))
        await failing.wait_exited()
        text = views.to_text(graph.snapshot())
    assert "failing@demo in on_event: ValueError: no 7\\nat all" in text


@given(st.text(min_size=1))
@example(AWKWARD)
def test_no_name_makes_a_terminal_do_anything(name: str) -> None:
    text = views.to_text(graph_of(node_at(Address(name, name))))
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 5


@given(st.text(min_size=1), st.text(min_size=1))
@example(AWKWARD, "style x:#f;")
def test_no_name_breaks_out_of_its_mermaid_label(scope: str, name: str) -> None:
    lines = views.to_mermaid(graph_of(node_at(Address(scope, name)))).splitlines()
    assert re.fullmatch(r' {4}subgraph s0\["[^"\n<>]*"\]', lines[1])
    assert re.fullmatch(r' {8}n0\["<b>[^"\n<>]*</b><br/>Meter"\]', lines[2])
    assert lines[3] == "    end"
    assert all(line.isprintable() for line in lines)


def test_mermaid_draws_scopes_as_subgraphs_and_counts_on_links() -> None:
    assert views.to_mermaid(PAIR).splitlines()[:6] == [
        "flowchart LR",
        '    subgraph s0["demo"]',
        '        n0["<b>tone</b><br/>Meter"]',
        '        n1["<b>meter</b><br/>Meter<br/>queue 2/128"]',
        "    end",
        '    n0 -->|"2,000 handled<br/>2 queued<br/>10 dropped (9 full, 1 crashed)"| n1',
    ]


@pytest.mark.parametrize("state", list(NodeState))
def test_mermaid_gives_each_state_a_look_of_its_own(state: NodeState) -> None:
    text = views.to_mermaid(graph_of(node_at(TONE, state=state)))
    looks = re.findall(r"classDef (\w+) (\S+)", text)
    assert len(looks) == 1
    assert f"class n0 {looks[0][0]}" in text
    if state in {NodeState.CRASHED, NodeState.EXITING}:
        running = views.to_mermaid(graph_of(node_at(TONE)))
        assert looks[0][1] not in running
        assert state in text


def test_receiver_that_has_left_is_drawn_while_its_sender_knows_the_link() -> None:
    snapshot = graph_of(node_at(TONE), links=(LinkSnapshot(1, TONE, SINK, False, Counts()),))
    assert '    n1["sink@echo<br/>gone"]' in views.to_mermaid(snapshot)
    assert "sink@echo" in views.to_dot(snapshot)
    assert "sink@echo" in views.to_text(snapshot)


def draw(snapshot: GraphSnapshot) -> ElementTree.Element:
    """What Graphviz makes of the dot view, as SVG."""
    done = subprocess.run(
        ["dot", "-Tsvg"],
        input=views.to_dot(snapshot).encode(),
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == b""
    return ElementTree.fromstring(done.stdout)


def texts(svg: ElementTree.Element, kind: str) -> list[list[str]]:
    """The lines of text in each element of a kind: node, edge or cluster."""
    space = "{http://www.w3.org/2000/svg}"
    found = []
    for group in svg.iter(f"{space}g"):
        if group.get("class") == kind:
            lines: dict[str, str] = {}
            for text in group.iter(f"{space}text"):
                height = text.attrib["y"]
                lines[height] = lines.get(height, "") + "".join(text.itertext())
            found.append([line.replace("\xa0", " ") for line in lines.values()])
    return found


@pytest.mark.interop("graphviz")
def test_graphviz_draws_nodes_in_their_scopes_with_counts_on_links() -> None:
    svg = draw(PAIR)
    assert texts(svg, "cluster") == [["demo"]]
    assert texts(svg, "node") == [["tone", "Meter"], ["meter", "Meter", "queue 2/128"]]
    assert texts(svg, "edge") == [
        ["2,000 handled", "2 queued", "10 dropped (9 full, 1 crashed)"],
    ]


@pytest.mark.interop("graphviz")
def test_graphviz_shows_awkward_names_as_they_are() -> None:
    shown = views.printable(AWKWARD)
    assert "\\N" in shown
    svg = draw(graph_of(node_at(Address(AWKWARD, AWKWARD))))
    assert texts(svg, "cluster") == [[shown]]
    assert texts(svg, "node") == [[shown, "Meter"]]


@pytest.mark.interop("graphviz")
def test_graphviz_draws_crashed_and_leaving_nodes_differently() -> None:
    states = [NodeState.RUNNING, NodeState.EXITING, NodeState.CRASHED]
    svg = draw(graph_of(*(node_at(Address("demo", s), state=s) for s in states)))
    looks = {
        (path.get("fill"), path.get("stroke-dasharray"))
        for group in svg.iter()
        if group.get("class") == "node"
        for path in group.iter("{http://www.w3.org/2000/svg}path")
    }
    assert len(looks) >= len(states)
