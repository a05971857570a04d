"""A snapshot for people and programs: JSON and back, text, Mermaid, Graphviz dot.

Pure functions of a `GraphSnapshot`, so that what a server sent as JSON can be drawn
anywhere. Names of nodes may hold anything, and may come from the network: what cannot be
printed is shown as an escape, and nothing in a name can break out of the drawing.
"""

import html
import json
import unicodedata
from collections.abc import Iterator

import msgspec

from eventgraph.counts import Counts
from eventgraph.event import Address
from eventgraph.statistics import GraphSnapshot, LinkSnapshot, NodeSnapshot

_DECODER = msgspec.json.Decoder(GraphSnapshot)

GONE = "gone"
"""Shown as the state of a receiver that has left while its sender has yet to be told."""

# The same colours in both drawings: (fill, line). They hold up on white and on black.
_COLOURS = {
    "running": ("#e8f1fb", "#3b73b0"),
    "entering": ("#eef7e8", "#5b9138"),
    "exiting": ("#fdf3d8", "#b58a1b"),
    "crashed": ("#fbdcdc", "#c0392b"),
    "remote": ("#efe9fb", "#7a5cc0"),
    GONE: ("#f2f2f2", "#8a8a8a"),
}
_DASHED = frozenset({"exiting", GONE})


def to_json(snapshot: GraphSnapshot) -> bytes:
    """All of it as one JSON object, in UTF-8; the fields are those of `GraphSnapshot`."""
    try:
        return msgspec.json.encode(snapshot)
    except UnicodeEncodeError:  # a name with half a surrogate pair, which is no text
        text = json.dumps(msgspec.to_builtins(snapshot), ensure_ascii=False)
        return text.encode(errors="replace")


def from_json(data: bytes | str) -> GraphSnapshot:
    """Read what `to_json` wrote.

    Raises:
        msgspec.DecodeError: it is no JSON, or not of a snapshot.
    """
    return _DECODER.decode(data)


def to_text(snapshot: GraphSnapshot) -> str:
    """For a terminal: by scope, each node with its links below it; ends with a newline."""
    rows = [
        [
            printable(node.address.name),
            printable(node.type),
            node.state,
            f"queue {node.queued:,}/{node.channel_size:,}",
        ]
        for node in snapshot.nodes
    ]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    table = {
        node.address: "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True))
        for node, row in zip(snapshot.nodes, rows, strict=True)
    }
    receivers = [_receiver(link) for link in snapshot.links]
    receiver_width = max(map(_width, receivers), default=0)
    below: dict[Address, list[str]] = {node.address: [] for node in snapshot.nodes}
    for link, receiver in zip(snapshot.links, receivers, strict=True):
        down = "" if link.up else "  (going down)"
        line = f"→ {_pad(receiver, receiver_width)}  {_describe(link.counts)}{down}"
        below[link.sender].append(line)

    lines = [
        _headline(snapshot),
        f"events of all links, past ones too: {_describe(snapshot.totals)}",
    ]
    for scope, nodes in _by_scope(snapshot).items():
        lines += ["", printable(scope)]
        for node in nodes:
            lines.append(f"  {table[node.address]}".rstrip())
            lines += (f"      {line}" for line in [*below[node.address], *_asides(node)])
    if snapshot.crashes:
        lines += ["", "crashes, latest last"]
        lines += (
            f"  {printable(crash.name)}@{printable(crash.scope)} in {crash.hook}: "
            f"{printable(crash.error)}"
            for crash in snapshot.crashes
        )
    return "\n".join(lines) + "\n"


def to_mermaid(snapshot: GraphSnapshot) -> str:
    """A Mermaid flowchart, as GitHub and mermaid.live draw it."""
    ids = _ids(snapshot)
    lines = ["flowchart LR"]
    states: dict[str, list[str]] = {}
    for number, (scope, nodes) in enumerate(_by_scope(snapshot).items()):
        lines.append(f'    subgraph s{number}["{_mermaid(scope)}"]')
        for node in nodes:
            about = _mermaid(node.type) + "".join(
                f"<br/>{_mermaid(text)}" for text in _remarks(node)
            )
            name = f"<b>{_mermaid(node.address.name)}</b>"
            lines.append(f'        {ids[node.address]}["{name}<br/>{about}"]')
            states.setdefault(_look(node.state), []).append(ids[node.address])
        lines.append("    end")
    for address in _gone(snapshot):
        lines.append(f'    {ids[address]}["{_mermaid(str(address))}<br/>{GONE}"]')
        states.setdefault(GONE, []).append(ids[address])
    for link in snapshot.links:
        label = "<br/>".join(map(_mermaid, _counts_lines(link.counts)))
        arrow = "-->" if link.up else "-.->"
        lines.append(f'    {ids[link.sender]} {arrow}|"{label}"| {ids[link.receiver]}')
    for state, members in states.items():
        fill, stroke = _COLOURS[state]
        dashed = ",stroke-dasharray:5 4" if state in _DASHED else ""
        lines.append(f"    classDef {state} fill:{fill},stroke:{stroke},color:#1a1a1a{dashed}")
        lines.append(f"    class {','.join(members)} {state}")
    return "\n".join(lines) + "\n"


def to_dot(snapshot: GraphSnapshot) -> str:
    """A Graphviz digraph: ``dot -Tsvg``."""
    ids = _ids(snapshot)
    lines = [
        "digraph eventgraph {",
        f'    graph [rankdir=LR, fontname="Helvetica", label="{_headline(snapshot)}"]',
        '    node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=12]',
        '    edge [fontname="Helvetica", fontsize=10, color="#555555"]',
    ]
    for number, (scope, nodes) in enumerate(_by_scope(snapshot).items()):
        lines += [
            f"    subgraph cluster_{number} {{",
            f"        label=<<b>{_html(scope)}</b>>",
            '        style="rounded"; color="#b0b0b0"; margin=14',
        ]
        for node in nodes:
            about = "<br/>".join(map(_html, [node.type, *_remarks(node)]))
            label = f"<b>{_html(node.address.name)}</b><br/><font point-size='10'>{about}</font>"
            lines.append(f"        {ids[node.address]} [label=<{label}>, {_dot_style(node.state)}]")
        lines.append("    }")
    for address in _gone(snapshot):
        label = f"{_html(str(address))}<br/>{GONE}"
        lines.append(f"    {ids[address]} [label=<{label}>, {_dot_style(GONE)}]")
    for link in snapshot.links:
        label = "<br/>".join(map(_html, _counts_lines(link.counts)))
        attributes = [f"label=<{label}>"]
        if not link.up:
            attributes.append("style=dashed")
        if link.counts.dropped:
            attributes.append('color="#c0392b", fontcolor="#c0392b"')
        lines.append(f"    {ids[link.sender]} -> {ids[link.receiver]} [{', '.join(attributes)}]")
    return "\n".join([*lines, "}"]) + "\n"


def printable(text: str) -> str:
    """The text on one line, with an escape for whatever a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# What the views share


def _by_scope(snapshot: GraphSnapshot) -> dict[str, list[NodeSnapshot]]:
    scopes: dict[str, list[NodeSnapshot]] = {}
    for node in snapshot.nodes:
        scopes.setdefault(node.address.scope, []).append(node)
    return scopes


def _gone(snapshot: GraphSnapshot) -> list[Address]:
    """Receivers that have left, of links that their senders still know."""
    present = {node.address for node in snapshot.nodes}
    return list(dict.fromkeys(x.receiver for x in snapshot.links if x.receiver not in present))


def _ids(snapshot: GraphSnapshot) -> dict[Address, str]:
    addresses = [*(node.address for node in snapshot.nodes), *_gone(snapshot)]
    return {address: f"n{number}" for number, address in enumerate(addresses)}


def _headline(snapshot: GraphSnapshot) -> str:
    return ", ".join(
        f"{count:,} {thing}{'' if count == 1 else plural}"
        for count, thing, plural in (
            (len(snapshot.nodes), "node", "s"),
            (len(snapshot.links), "link", "s"),
            (snapshot.crash_count, "crash", "es"),
        )
    )


def _counts_lines(counts: Counts) -> list[str]:
    lines = [f"{counts.handled:,} handled"]
    if counts.queued:
        lines.append(f"{counts.queued:,} queued")
    if counts.dropped:
        reasons = [f"{count:,} {reason}" for reason, count in counts.dropped.items()]
        why = ", ".join(reasons if len(reasons) > 1 else counts.dropped)
        lines.append(f"{sum(counts.dropped.values()):,} dropped ({why})")
    return lines


def _describe(counts: Counts) -> str:
    return ", ".join(_counts_lines(counts))


def _remarks(node: NodeSnapshot) -> list[str]:
    """What is worth saying of a node beside its type: only what is not as usual."""
    remarks = [] if node.state == "running" else [node.state]
    if node.queued:
        remarks.append(f"queue {node.queued:,}/{node.channel_size:,}")
    return [*remarks, *_asides(node)]


def _asides(node: NodeSnapshot) -> Iterator[str]:
    """What comes into the channel beside the links."""
    if node.to_self.offered:
        yield f"from itself: {_describe(node.to_self)}"
    if node.from_threads.offered:
        yield f"from its threads: {_describe(node.from_threads)}"
    if node.waiting:
        yield f"waiting for room: {node.waiting:,}"


# For the terminal


def _receiver(link: LinkSnapshot) -> str:
    name = printable(link.receiver.name)
    if link.receiver.scope == link.sender.scope:
        return name
    return f"{name}@{printable(link.receiver.scope)}"


def _width(text: str) -> int:
    """Columns that a terminal takes for it."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in {"Mn", "Me"} for c in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


# For the drawings


def _mermaid(text: str) -> str:
    """In a quoted Mermaid label: whatever could be syntax or Markdown as an entity code."""
    return "".join(c if c.isalnum() or c in " _,()@/" else f"#{ord(c)};" for c in printable(text))


def _html(text: str) -> str:
    r"""In an HTML-like label of Graphviz.

    It replaces ``\N`` and the like even there, ``&#92;N`` too: set the backslash apart.
    """
    return html.escape(printable(text)).replace("\\", "<font>&#92;</font>")


def _look(state: str) -> str:
    """The state whose colours are used: a newer server may have states unknown here."""
    return state if state in _COLOURS else GONE


def _dot_style(state: str) -> str:
    fill, line = _COLOURS[_look(state)]
    dashed = ', style="rounded,filled,dashed"' if state in _DASHED else ""
    return f'fillcolor="{fill}", color="{line}"{dashed}'
