"""What there is in a realm, as tables for people and as JSON for programs. Pure."""

import io
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from eventgraph.flows import (
    ClientListing,
    FlowFormat,
    FlowListing,
    Listing,
    MachineListing,
    WaitingListing,
)
from rtp.pipes.listing import shown

ID_SHOWN: Final = 8  # characters of a client's id
_encode: Final = msgspec.json.Encoder().encode


def without(listing: Listing, client: str) -> Listing:
    """The same, but for one client: who only looks is of no interest."""
    machines = tuple(
        msgspec.structs.replace(
            machine,
            clients=tuple(found for found in machine.clients if found.id != client),
            waiting=tuple(found for found in machine.waiting if found.client != client),
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
        console.print(part, soft_wrap=isinstance(part, Text))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _parts(listing: Listing) -> Iterable[RenderableType]:
    yield _machines(listing.machines)
    if problems := list(_problems(listing)):
        yield Text("\n".join(problems), "red")
    clients = [(machine, client) for machine in listing.machines for client in machine.clients]
    if clients:
        yield _clients(clients)
    flows = list(listing.flows())
    waiting = [(machine, one) for machine in listing.machines for one in machine.waiting]
    if flows or waiting:
        yield _flows(flows, waiting)
    if not flows:
        yield Text("no flows: eventgraph flows provide GROUP/NAME begins one")


def _problems(listing: Listing) -> Iterable[str]:
    """A line each: they are sentences, and would stretch a table."""
    for machine in listing.machines:
        if machine.problem:
            yield shown(f"{machine.name}: {machine.problem}")
        for client in machine.clients:
            if client.problem:
                yield shown(f"{client.name} ({client.id[:ID_SHOWN]}): {client.problem}")


def _machines(machines: Iterable[MachineListing]) -> Table:
    titles = ["machine", "server", "clock", ">memory", ">busy cores"]
    rows = []
    for machine in machines:
        limit = f" of {_bytes(machine.memory_limit)}" if machine.memory_limit else ""
        rows.append(
            [
                _text(machine.name, "bold"),
                _text(f"pid {machine.pid}" if machine.pid else ""),
                _text(_clock(machine)),
                _text(_bytes(machine.memory) + limit if machine.pid else ""),
                _text(f"{machine.busy:.1f} of {machine.cores:g}" if machine.cores else ""),
            ]
        )
    return _table(titles, rows)


def _clients(clients: Iterable[tuple[MachineListing, ClientListing]]) -> Table:
    titles = ["client", "id", "machine", ">pid", "kind", ">restarts", ">used cores"]
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
            ]
        )
    return _table(titles, rows)


def _flows(
    flows: Iterable[tuple[MachineListing, FlowListing]],
    waiting: Iterable[tuple[MachineListing, WaitingListing]],
) -> Table:
    """What is provided; below it, who waits for something, and for what."""
    titles = ["flow", "machine", "format", "provided by", "state", "*consumed by", ">memory"]
    rows = []
    for machine, flow in flows:
        consumers = [f"{c.name} ({c.signal})" if c.signal else c.name for c in flow.consumers]
        rows.append(
            [
                _text(str(flow.key), "bold"),
                _text(machine.name),
                _text(short_format(flow.format)),
                _text(provided_by(flow)),
                _text(*flow_state(flow)),
                _text(", ".join(consumers)),
                _text(_bytes(flow.memory)),
            ]
        )
    for machine, one in waiting:
        rows.append(
            [
                _text(str(one.pattern), "bold"),
                _text(machine.name),
                _text("" if one.format is None else short_format(one.format)),
                _text(""),
                _text("waited for", "yellow"),
                _text(one.name),
                _text(""),
            ]
        )
    return _table(titles, rows)


def short_format(format: FlowFormat) -> str:
    """For people: ``AUDIO 48 kHz 2ch s16``; what is not usual as it is written elsewhere."""
    left = dict(format.parameters)
    parts: list[str] = []
    if format.type == "AUDIO":
        if isinstance(rate := left.get("rate"), int | float):
            parts.append(f"{rate / 1000:g} kHz")
            del left["rate"]
        if "channels" in left:
            parts.append(f"{left.pop('channels')}ch")
        parts += [str(left.pop("sample"))] if "sample" in left else []
    elif format.type == "VIDEO":
        if "width" in left and "height" in left:
            parts.append(f"{left.pop('width')}x{left.pop('height')}")
        parts += [str(left.pop("pixels"))] if "pixels" in left else []
    parts += [f"{name}={value}" for name, value in sorted(left.items())]
    return " ".join([format.type, *parts])


def provided_by(flow: FlowListing) -> str:
    """Who, in words."""
    if flow.origin:
        return f"machine {flow.origin}"
    return flow.provider


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
    """Without the columns in which nothing stands.

    ">" begins the title of one with numbers, "*" that of the one that gives way if it is narrow.
    """
    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    shown_columns = [i for i in range(len(titles)) if any(row[i].plain for row in rows)]
    for i in shown_columns:
        justify: Literal["left", "right"] = "right" if titles[i].startswith(">") else "left"
        table.add_column(titles[i].lstrip(">*"), justify=justify, no_wrap=titles[i][0] != "*")
    for row in rows:
        table.add_row(*(row[i] for i in shown_columns))
    return table


def _text(text: str, style: str = "") -> Text:
    """Names come from others: nothing in them is markup, or moves a cursor."""
    return Text(shown(text), style)
