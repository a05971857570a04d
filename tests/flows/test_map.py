"""The map: who feeds whom, out of a listing."""

import re

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows import (
    ClientListing,
    ConsumerListing,
    FlowFormat,
    FlowKey,
    FlowListing,
    FlowPattern,
    Listing,
    MachineListing,
    WaitingListing,
)
from eventgraph.flows.map import draw
from eventgraph.flows.map_views import to_mermaid, to_text

RAW = FlowFormat("RAW")


def client(name: str) -> ClientListing:
    return ClientListing(f"id-{name}", name, 7)


def taken_by(*names: str, signal: str = "") -> tuple[ConsumerListing, ...]:
    return tuple(ConsumerListing(f"id-{name}", name, signal) for name in names)


def flow(  # one that runs, unless said otherwise
    key: str,
    provider: str,
    consumers: tuple[ConsumerListing, ...] = (),
    *,
    id: str = "",
    variant: str = "",
    origin: str = "",
    running: bool = True,
    stopped_by: tuple[str, ...] = (),
    obsolete: bool = False,
) -> FlowListing:
    return FlowListing(
        FlowKey.parse(key),
        id or key,
        RAW,
        "" if origin else f"id-{provider}",
        provider,
        variant,
        origin,
        64,
        running,
        stopped_by,
        obsolete,
        consumers,
    )


def machine(name: str, clients: str, *flows: FlowListing, problem: str = "") -> MachineListing:
    there = tuple(client(name) for name in clients.split())
    return MachineListing(name, clients=there, flows=flows, problem=problem)


def listing(*machines: MachineListing) -> Listing:
    return Listing("demo", "me", machines)


def arrows(*machines: MachineListing) -> set[str]:
    picture = draw(listing(*machines))
    names = {box.id: f"{box.name}@{box.machine}" for box in picture.boxes}
    return {
        f"{names[a.sender]} {'..' if a.carried else '--'}{a.label}> {names[a.receiver]}"
        for a in picture.arrows
    }


def test_provider_leads_to_its_flow_and_that_to_consumers() -> None:
    one = machine(
        "left", "mic mixer", flow("lab/voice", "mic", taken_by("mixer", signal="stopped"))
    )
    assert arrows(one) == {"mic@left --> lab/voice@left", "lab/voice@left --STOP> mixer@left"}


def test_flow_leads_to_the_same_flow_on_another_machine() -> None:
    other = (ConsumerListing("", "other machines"),)
    left = machine("left", "mic", flow("lab/voice", "mic", other))
    right = machine("right", "ear", flow("lab/voice", "left", taken_by("ear"), origin="left"))
    assert arrows(left, right) == {
        "mic@left --> lab/voice@left",
        "lab/voice@left ..> lab/voice@right",
        "lab/voice@right --> ear@right",
    }


def test_machine_that_tells_nothing_is_there_still() -> None:
    silent = machine("left", "", problem="does not answer")
    right = machine("right", "ear", flow("lab/voice", "left", taken_by("ear"), origin="left"))
    assert "machine left@left ..> lab/voice@right" in arrows(silent, right)
    other = (ConsumerListing("", "other machines"),)
    assert "lab/x@right ..> other machines@right" in arrows(
        machine("right", "mic", flow("lab/x", "mic", other))
    )
    assert "\nleft\n  does not answer\n" in to_text(listing(silent, right))


def test_machine_whose_clients_are_drawn_elsewhere_says_where() -> None:
    left = machine("left", "ear", flow("lab/voice", "right", taken_by("ear"), origin="right"))
    right = machine("right", "mic", flow("lab/voice", "mic"))
    text = to_text(listing(left, right))
    assert "\nleft\n  see right\n\nright\n  mic  pid 7\n" in text
    assert "─ ear at left" in text


def test_client_that_waits_says_for_what() -> None:
    waiting = WaitingListing("id-ear", "ear", FlowPattern("*", "voise"), RAW)
    one = MachineListing("left", clients=(client("ear"),), waiting=(waiting,))
    assert "  ear  pid 7, waits for */voise as RAW\n" in to_text(listing(one))


def test_converter_stands_between_two_formats_of_one_flow() -> None:
    one = machine(
        "left",
        "mic conv ear",
        flow("lab/voice", "mic", taken_by("conv")),
        flow("lab/voice", "conv", taken_by("ear"), id="other", variant="RAW,x=1"),
    )
    picture = draw(listing(one))
    assert [box.kind for box in picture.boxes] == [
        "client",
        "converter",
        "client",
        "flow",
        "flow",
    ]
    assert to_text(listing(one)) == (
        "demo of me: 1 machine, 3 clients, 1 flow\n"
        "\n"
        "left\n"
        "  mic  pid 7\n"
        "  └─ lab/voice  RAW\n"
        "     └─ conv  converter, pid 7\n"
        "        └─ lab/voice  RAW, converted\n"
        "           └─ ear  pid 7\n"
    )


def test_text_draws_each_box_once() -> None:
    one = machine(
        "left",
        "a b mixer ear",
        flow("x/a", "a", taken_by("mixer")),
        flow("x/b", "b", taken_by("mixer")),
        flow("x/mix", "mixer", taken_by("ear")),
    )
    assert to_text(listing(one)).splitlines()[3:] == [
        "  a  pid 7",
        "  └─ x/a  RAW",
        "     └─ mixer  pid 7",
        "        └─ x/mix  RAW",
        "           └─ ear  pid 7",
        "  b  pid 7",
        "  └─ x/b  RAW",
        "     └─ mixer  above",
    ]


def test_circle_is_drawn_though_nobody_is_first() -> None:
    one = machine("left", "a b", flow("x/a", "a", taken_by("b")), flow("x/b", "b", taken_by("a")))
    assert to_text(listing(one)).splitlines()[3:] == [
        "  a  pid 7",
        "  └─ x/a  RAW",
        "     └─ b  pid 7",
        "        └─ x/b  RAW",
        "           └─ a  above",
    ]


def test_state_of_a_flow_is_said() -> None:
    one = machine(
        "left",
        "a",
        flow("x/stopped", "a", running=False, stopped_by=("b", "c")),
        flow("x/waits", "a", running=False),
        flow("x/old", "a", obsolete=True),
    )
    text = to_text(listing(one))
    assert "x/stopped  RAW, stopped by b, c\n" in text
    assert "x/waits  RAW, waits for clients to START it\n" in text
    assert "x/old  RAW, another has taken over\n" in text
    mermaid = to_mermaid(listing(one))
    assert "class n1,n2 stopped" in mermaid
    assert "class n3 obsolete" in mermaid


def test_client_that_is_not_there_says_why() -> None:
    gone = ClientListing("1", "mixer", 0, launched=True, restarts=5, problem="given up: it crashed")
    text = to_text(listing(MachineListing("left", clients=(gone,))))
    assert "  mixer  started by the server, started again: 5, given up: it crashed\n" in text


def test_mermaid_has_a_box_for_each_machine() -> None:
    left = machine("left", "mic", flow("lab/voice", "mic"))
    right = machine("right", "ear", flow("lab/voice", "left", taken_by("ear"), origin="left"))
    lines = to_mermaid(listing(left, right)).splitlines()
    assert lines[:9] == [
        "flowchart LR",
        '    subgraph m0["left"]',
        '        n0["<b>mic</b><br/>pid 7"]',
        '        n1(["<b>lab/voice</b><br/>RAW"])',
        "    end",
        '    subgraph m1["right"]',
        '        n2["<b>ear</b><br/>pid 7"]',
        '        n3(["<b>lab/voice</b><br/>RAW<br/>brought in from left"])',
        "    end",
    ]
    assert "    n1 -.-> n3" in lines


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_breaks_out_of_the_drawing(name: str, place: str) -> None:
    told = MachineListing(place, clients=(ClientListing("1", name, 7),), problem=name)
    mermaid = to_mermaid(listing(told))
    assert len(mermaid.splitlines()) == 6
    for line in mermaid.splitlines()[1:3]:
        label = re.fullmatch(r' +\w+(?: m0)?\["(.*)"\]', line)
        assert label is not None, line
        assert not set(re.sub(r"</?b>|<br/>", "", label[1])) & set('"<>[]{}`|')
    assert to_text(listing(told)).replace("\n", "").isprintable()
