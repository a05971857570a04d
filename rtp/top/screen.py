"""How ``eventgraph top`` looks: totals, nodes, the latest crashes."""

from collections.abc import Iterable, Mapping, Sequence
from math import isinf
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eventgraph import Crash, GraphSnapshot
from eventgraph.views import printable

from .activity import USUAL, Activity, NodeActivity, Order, in_order
from .server import ServerActivity

BAR: Final = 8
"""Columns of a queue."""
CRASHES: Final = 3
"""That are shown."""
CHROME: Final = 10
"""Lines beside nodes and crashes."""

_STATES: Final = {
    "running": ("●", "green"),
    "entering": ("○", "cyan"),
    "suspended": ("◌", "bold magenta"),
    "exiting": ("◐", "yellow"),
    "crashed": ("✖", "bold red"),
    "remote": ("⇄", "blue"),
}
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_SPARKS: Final = "▁▂▃▄▅▆▇█"


def screen(
    url: str,
    snapshot: GraphSnapshot,
    activity: Activity,
    server: ServerActivity | None,
    *,
    order: Order,
    epoch: float,
    rows: int | None = None,
    history: Sequence[float] = (),
    footer: Text | None = None,
) -> RenderableType:
    """All of it.

    Args:
        server: None: it has no metrics.
        epoch: the time now, seconds since 1970.
        rows: lines that there are; None: as many, and as wide, as it takes.
        history: events a second, of late.
        footer: the last line.
    """
    crashes = snapshot.crashes[-CRASHES:]
    room = None if rows is None else max(1, rows - CHROME - len(crashes) - bool(crashes))
    parts: list[RenderableType] = [
        *_totals(url, snapshot, activity, server, history),
        _nodes(in_order(activity.nodes, order), order, room, server.takes if server else {}),
    ]
    if crashes:
        parts.append(Text("latest crashes", style="dim"))
        parts += (_crash(crash, epoch) for crash in reversed(crashes))
    if footer is not None:
        parts.append(footer)
    return Group(*parts)


def _totals(
    url: str,
    snapshot: GraphSnapshot,
    activity: Activity,
    server: ServerActivity | None,
    history: Sequence[float],
) -> Iterable[Text]:
    head = Text(f"eventgraph {server.version if server else ''}".rstrip(), style="bold")
    head.append(f"  {url}", style="not bold cyan")
    if server is not None:
        head.append(f"  up {duration(server.uptime)}", style="not bold dim")
    yield head
    totals = snapshot.totals
    events = _line("events", f"{rate(activity.taken)}/s ")
    events.append(spark(history), style="green")
    events.append("  dropped ", style="dim")
    dropped = sum(totals.dropped.values())
    style = "bold red" if activity.lost else "yellow" if dropped else ""
    events.append(f"{rate(activity.lost)}/s, {dropped:,} in all", style=style)
    _add(events, "queued", f"{totals.queued:,}")
    yield events
    states = snapshot.nodes
    graph = _line("graph", f"{len(states):,} nodes, {len(snapshot.links):,} links")
    _add(graph, "crashes", f"{snapshot.crash_count:,}", "bold red" if snapshot.crash_count else "")
    _add(graph, "restarts", f"{snapshot.restart_count:,}", "red" if snapshot.restart_count else "")
    yield graph
    if server is None:
        return
    late = server.lag > 0.02
    process = _line(
        "process", f"{server.processor:.0%} cpu", "red" if server.processor > 0.9 else ""
    )
    lag = "> 2.5 s" if isinf(server.lag) else f"≤ {server.lag * 1000:g} ms"
    _add(process, "lag", lag, "bold red" if late else "")
    _add(process, "memory", f"{server.memory / 1e6:,.0f} MB")
    _add(
        process, "open", f"{server.descriptors} fds, {server.threads} threads, {server.tasks} tasks"
    )
    yield process
    if not (server.calls_limit or server.received or server.sent):
        return
    full = server.calls >= server.calls_limit
    media = _line("media", f"{server.calls}/{server.calls_limit} calls", "bold red" if full else "")
    _add(media, "rtp", f"{rate(server.received)}/s in, {rate(server.sent)}/s out")
    if server.loss is not None:
        _add(media, "lost", f"{server.loss:.1%}", "bold red" if server.loss > 0.01 else "")
    if server.delay:
        _add(media, "delay", f"{server.delay * 1000:.0f} ms")
    yield media


def _line(title: str, first: str, style: str = "") -> Text:
    line = Text(f"{title:<8}", style="")
    line.stylize("dim")
    line.append(first, style=style or "not dim")
    return line


def _add(line: Text, title: str, value: str, style: str = "") -> None:
    line.append(f"  {title} ", style="dim")
    line.append(value, style=style or "not dim")


def _nodes(
    nodes: list[NodeActivity], order: Order, room: int | None, takes: Mapping[str, float]
) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        expand=room is not None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 1),
    )
    table.add_column("", width=1)
    table.add_column(_title("node", order, Order.NAME), ratio=3, no_wrap=True)
    table.add_column("scope", ratio=4, no_wrap=True)
    table.add_column("type", ratio=2, no_wrap=True, style="dim")
    table.add_column("takes", justify="right", no_wrap=True, min_width=6, style="dim")
    table.add_column(_title("in/s", order, Order.RATE), justify="right", no_wrap=True, min_width=6)
    table.add_column("out/s", justify="right", no_wrap=True, min_width=6)
    table.add_column(_title("drop/s", order, Order.DROPS), justify="right", no_wrap=True)
    table.add_column("drops", justify="right", no_wrap=True)
    table.add_column(_title("queue", order, Order.QUEUE), no_wrap=True, min_width=BAR + 8)
    table.add_column("", justify="right", no_wrap=True)
    shown = nodes if room is None or len(nodes) <= room else nodes[: room - 1]
    for node in shown:
        table.add_row(*_row(node, takes.get(node.type)))
    if len(shown) < len(nodes):
        table.add_row("", Text(f"… {len(nodes) - len(shown):,} more", style="dim"))
    return table


def _title(title: str, order: Order, mine: Order) -> str:
    return f"{title} ▾" if order is mine else title


def _row(node: NodeActivity, takes: float | None) -> Iterable[Text]:
    symbol, colour = _STATES.get(node.state, ("?", "red"))
    yield Text(symbol, style=colour)
    yield Text(printable(node.address.name), style="" if node.state in USUAL else colour)
    yield Text(printable(node.address.scope))
    yield Text(printable(node.type))
    yield Text("" if takes is None else span(takes))
    yield Text(rate(node.taken), style="" if node.taken else "dim")
    yield Text(rate(node.given), style="" if node.given else "dim")
    yield Text(rate(node.lost), style="bold red" if node.lost else "dim")
    yield Text(f"{node.drops:,}", style="yellow" if node.drops else "dim")
    yield _queue(node)
    yield Text(f"↻{node.restarts}" if node.restarts else "", style="magenta")


def _queue(node: NodeActivity) -> Text:
    fill = min(1.0, node.fill)
    colour = "red" if fill >= 0.9 else "yellow" if fill >= 0.5 else "green"
    eighths = -(-int(fill * BAR * 80) // 10)
    bar = "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
    text = Text(f"{bar:<{BAR}}", style=f"{colour} on grey15")
    return text.append(
        f" {node.queued}/{node.channel_size}", style="on default" if fill else "dim on default"
    )


def _crash(crash: Crash, epoch: float) -> Text:
    line = Text(f"{duration(max(0.0, epoch - crash.time)):>8} ago  ", style="dim", no_wrap=True)
    line.append(f"{printable(crash.name)}@{printable(crash.scope)}", style="not dim red")
    line.append(f"  {crash.hook}  ", style="dim")
    line.append(printable(crash.error), style="not dim")
    line.truncate(200, overflow="ellipsis")
    return line


def rate(value: float) -> str:
    """Events a second, in no more than five columns."""
    if value >= 999_500:
        return f"{value / 1e6:.1f}M"
    if value >= 9_995:
        return f"{value / 1e3:.0f}k"
    return f"{value:.0f}" if value >= 9.95 or not value else f"{value:.1f}"


def span(seconds: float) -> str:
    """A short time: ``12 µs``, ``3.4 ms``, ``1.2 s``."""
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    if seconds >= 0.0009995:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.0f} µs"


def duration(seconds: float) -> str:
    """As people say it: ``42 s``, ``3:07``, ``5:03:07``, ``12 d``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    if whole < 86400 * 2:
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 86400} d"


def spark(values: Sequence[float]) -> str:
    """A line of bars, the tallest as tall as can be."""
    top = max(values, default=0.0)
    if not top:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[round(value / top * (len(_SPARKS) - 1))] for value in values)
