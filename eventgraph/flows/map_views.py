"""A map for people: as a tree of text, and as Mermaid. Pure.

Names may come from other machines: what cannot be printed is shown as an escape, and nothing in a
name can break out of the drawing.
"""

from collections.abc import Iterator
from typing import Final

from eventgraph.flows.listing import Listing
from eventgraph.flows.map import (
    BROUGHT,
    CLIENT,
    CONVERTER,
    ELSEWHERE,
    FLOW,
    Arrow,
    Box,
    FlowMap,
    draw,
)
from eventgraph.views import printable

# (fill, line) of a kind, and of a flow that is not as usual; they hold up on white and on black.
_COLOURS: Final = {
    CLIENT: ("#e8f1fb", "#3b73b0"),
    CONVERTER: ("#efe9fb", "#7a5cc0"),
    FLOW: ("#eef7e8", "#5b9138"),
    BROUGHT: ("#f2f2f2", "#5b9138"),
    ELSEWHERE: ("#f2f2f2", "#8a8a8a"),
    "stopped": ("#fdf3d8", "#b58a1b"),
    "obsolete": ("#fbdcdc", "#c0392b"),
}
_SHAPES: Final = {CONVERTER: ("{{", "}}"), FLOW: ("([", "])"), BROUGHT: ("([", "])")}
_DASHED: Final = frozenset({BROUGHT, ELSEWHERE, "obsolete"})


# For a terminal


def to_text(listing: Listing) -> str:
    """A tree below each machine; what was drawn before is only named. Ends with a newline."""
    picture = draw(listing)
    boxes = {box.id: box for box in picture.boxes}
    fed = {arrow.receiver for arrow in picture.arrows}
    beginnings = [box for box in picture.boxes if box.id not in fed]
    lines = [_headline(listing)]
    seen: dict[str, str] = {}
    trees: dict[str, list[str]] = {name: [] for name in [*picture.machines, *_others(picture)]}
    for box in [*beginnings, *picture.boxes]:  # in a circle nobody is first
        if box.id not in seen:
            trees[box.machine] += _tree(box, picture, boxes, seen)
    for machine, tree in trees.items():
        lines += ["", printable(machine)]
        problem = picture.machines.get(machine, "")
        if problem:
            lines.append(f"  {printable(problem)}")
        elif not tree:
            drawn = sorted({seen[box.id] for box in picture.boxes if box.machine == machine})
            lines.append(f"  see {printable(', '.join(drawn))}" if drawn else "  nobody")
        lines += [f"  {line}" for line in tree]
    return "\n".join(lines) + "\n"


def _tree(
    root: Box, picture: FlowMap, boxes: dict[str, Box], seen: dict[str, str]
) -> Iterator[str]:
    """Lines; `seen` is by box the machine under which it is drawn."""
    below: dict[str, list[Arrow]] = {}
    for arrow in picture.arrows:
        below.setdefault(arrow.sender, []).append(arrow)
    waiting = [(root, "", "", "")]  # a box, before its name, before those below it, its label
    while waiting:
        box, here, further, label = waiting.pop()
        place = f" at {box.machine}" if box.machine != root.machine else ""
        again = box.id in seen and bool(below.get(box.id))
        about = (
            ["above"] if again else [*([CONVERTER] if box.kind == CONVERTER else []), *box.about]
        )
        said = f"  {', '.join(about)}" if about else ""
        yield here + printable(f"{f'[{label}] ' if label else ''}{box.name}{place}{said}")
        if again:
            continue
        seen[box.id] = root.machine
        arrows = below.get(box.id, [])
        for number, arrow in enumerate(reversed(arrows)):
            corner, gap = ("└─ ", "   ") if number == 0 else ("├─ ", "│  ")
            waiting.append((boxes[arrow.receiver], further + corner, further + gap, arrow.label))


def _others(picture: FlowMap) -> list[str]:
    """Machines that are mentioned, and were not listed."""
    return list(
        dict.fromkeys(b.machine for b in picture.boxes if b.machine not in picture.machines)
    )


def _headline(listing: Listing) -> str:
    flows = {flow.key for _, flow in listing.flows()}
    counts = ", ".join(
        f"{count:,} {what}{'' if count == 1 else 's'}"
        for count, what in (
            (len(listing.machines), "machine"),
            (sum(len(machine.clients) for machine in listing.machines), "client"),
            (len(flows), "flow"),
        )
    )
    return printable(f"{listing.application} of {listing.user}: {counts}")


# For drawings


def to_mermaid(listing: Listing) -> str:
    """A Mermaid flowchart, as GitHub and mermaid.live draw it."""
    picture = draw(listing)
    lines = ["flowchart LR"]
    looks: dict[str, list[str]] = {}
    for number, machine in enumerate([*picture.machines, *_others(picture)]):
        problem = picture.machines.get(machine, "")
        title = _mermaid(machine) + (f"<br/>{_mermaid(problem)}" if problem else "")
        lines.append(f'    subgraph m{number}["{title}"]')
        for box in (box for box in picture.boxes if box.machine == machine):
            opening, closing = _SHAPES.get(box.kind, ("[", "]"))
            about = "".join(f"<br/>{_mermaid(text)}" for text in _remarks(box))
            lines.append(f'        {box.id}{opening}"<b>{_mermaid(box.name)}</b>{about}"{closing}')
            look = box.state if box.state in _COLOURS else box.kind
            looks.setdefault(look, []).append(box.id)
        lines.append("    end")
    for arrow in picture.arrows:
        label = f"|{arrow.label}|" if arrow.label else ""
        line = "-.->" if arrow.carried else "-->"
        lines.append(f"    {arrow.sender} {line}{label} {arrow.receiver}")
    for look, members in looks.items():
        fill, stroke = _COLOURS[look]
        dashed = ",stroke-dasharray:5 4" if look in _DASHED else ""
        lines.append(f"    classDef {look} fill:{fill},stroke:{stroke},color:#1a1a1a{dashed}")
        lines.append(f"    class {','.join(members)} {look}")
    return "\n".join(lines) + "\n"


def _remarks(box: Box) -> list[str]:
    return [*([CONVERTER] if box.kind == CONVERTER else []), *box.about]


def _mermaid(text: str) -> str:
    """In a quoted label: whatever could be syntax or Markdown as an entity code."""
    return "".join(c if c.isalnum() or c in " _,()@/" else f"#{ord(c)};" for c in printable(text))
