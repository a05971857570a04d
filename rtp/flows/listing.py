"""What there is in a realm, as tables for people and as JSON for programs. Pure."""

import io
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from eventgraph.flows import ClientListing, FlowListing, Listing, MachineListing
from rtp.pipe_listing import shown

ID_SHOWN: Final = 8  # characters of a client's id
_encode: Final = msgspec.json.Encoder().encode


def without(listing: Listing, client: str) -> Listing:
    """The same, but for one client: who only looks is of no interest."""
    machines = tuple(
        msgspec.structs.replace(
            machine, clients=tuple(found for found in machine.clients if found.id != client)
        )
        for machine in listing.machines
    )
    return msgspec.structs.replace(listing, machines=machines)


def to_json(listing: Listing) -> str:
    """All of it, as an object; ends with a newline."""
    return msgspec.json.format(_encode(listing), indent=2).decode() + "\n"


def to_tables(listing: Listing, width: int, *, colour: bool = False) -> str:
    """Machines, clients and flows; ends with a newline.

    Args:
        width: columns of the terminal.
        colour: whether it takes colours.
    """
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="auto", highlight=False
    )
    console.print(Text(f"{shown(listing.application)} of {shown(listing.user)}", style="bold"))
    for part in _parts(listing):
        console.print()
        console.print(part)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _parts(listing: Listing) -> Iterable[RenderableType]:
    yield _machines(listing.machines)
    clients = [(machine, client) for machine in listing.machines for client in machine.clients]
    if clients:
        yield _clients(clients)
    flows = list(listing.flows())
    if flows:
        yield _flows(flows)
    else:
        yield Text("no flows: eventgraph flows provide GROUP/NAME begins one")


def _machines(machines: Iterable[MachineListing]) -> Table:
    titles = ["machine", "server", "clock", ">memory", ">cores", "problem"]
    rows = []
    for machine in machines:
        limit = f" of {_bytes(machine.memory_limit)}" if machine.memory_limit else ""
        rows.append(
            [
                _text(machine.name, "bold"),
                _text(f"pid {machine.pid}" if machine.pid else ""),
                _text(_clock(machine)),
                _text("" if machine.problem else _bytes(machine.memory) + limit),
                _text(f"{machine.busy:.1f} of {machine.cores:g}" if machine.cores else ""),
                _text(machine.problem, "red"),
            ]
        )
    return _table(titles, rows)


def _clients(clients: Iterable[tuple[MachineListing, ClientListing]]) -> Table:
    titles = ["client", "id", "machine", ">pid", "kind", ">restarts", ">cores", "problem"]
    rows = []
    for machine, client in clients:
        kind = "movable" if client.movable else "started by the server" if client.launched else ""
        rows.append(
            [
                _text(client.name, "bold"),
                _text(client.id[:ID_SHOWN]),
                _text(machine.name),
                _text(str(client.pid or "")),
                _text(kind),
                _text(str(client.restarts) if client.launched else ""),
                _text(f"{client.need:.2f}" if client.need else ""),
                _text(client.problem, "red"),
            ]
        )
    return _table(titles, rows)


def _flows(flows: Iterable[tuple[MachineListing, FlowListing]]) -> Table:
    titles = ["flow", "machine", "format", "provided by", "state", "consumed by", ">memory"]
    rows = []
    for machine, flow in flows:
        consumers = [f"{c.name} ({c.signal})" if c.signal else c.name for c in flow.consumers]
        rows.append(
            [
                _text(str(flow.key), "bold"),
                _text(machine.name),
                _text(str(flow.format)),
                _text(provided_by(flow)),
                _text(*flow_state(flow)),
                _text(", ".join(consumers)),
                _text(_bytes(flow.memory)),
            ]
        )
    return _table(titles, rows)


def provided_by(flow: FlowListing) -> str:
    """Who, in words."""
    if flow.origin:
        return f"machine {flow.origin}"
    return f"{flow.provider} (converts)" if flow.variant else flow.provider


def flow_state(flow: FlowListing) -> tuple[str, str]:
    """In words, and how they look."""
    if flow.obsolete:
        return "taken over", "red"
    if flow.origin:
        return "brought in", ""
    if flow.running:
        return "running", "green"
    names = ", ".join(flow.stopped_by)
    return f"stopped by {names}" if names else "waits for START", "yellow"


def _clock(machine: MachineListing) -> str:
    """How far it is ahead of ours, or behind."""
    if not machine.uncertainty:
        return ""
    return f"{-machine.offset / 1e6:+,.3f} ms ± {machine.uncertainty / 1e6:,.3f}"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}".replace(".0 ", " ")
    return f"{count} B"


def _table(titles: list[str], rows: list[list[Text]]) -> Table:
    """Without the columns in which nothing stands; ">" begins the title of one with numbers."""
    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    shown_columns = [i for i in range(len(titles)) if any(row[i].plain for row in rows)]
    for i in shown_columns:
        justify: Literal["left", "right"] = "right" if titles[i].startswith(">") else "left"
        table.add_column(titles[i].removeprefix(">"), justify=justify)
    for row in rows:
        table.add_row(*(row[i] for i in shown_columns))
    return table


def _text(text: str, style: str = "") -> Text:
    """Names come from others: nothing in them is markup, or moves a cursor."""
    return Text(shown(text), style)
