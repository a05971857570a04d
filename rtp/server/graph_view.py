"""In which form a graph is answered: by ``?format=``, else by what the client accepts."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from eventgraph import GraphSnapshot, views


class GraphFormat(StrEnum):
    """The views of a graph."""

    JSON = "json"
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


class View(NamedTuple):
    """A form and how it is made."""

    media_type: str
    render: Callable[[GraphSnapshot], bytes | str]


VIEWS = {
    GraphFormat.JSON: View("application/json", views.to_json),
    GraphFormat.TEXT: View("text/plain", views.to_text),
    GraphFormat.MERMAID: View("text/vnd.mermaid", views.to_mermaid),
    GraphFormat.DOT: View("text/vnd.graphviz", views.to_dot),
}
"""In the order in which we prefer them when a client takes several equally."""


def negotiate(accept: str) -> GraphFormat | None:
    """The form that an ``Accept`` header asks for; None if there is none that it takes.

    The most specific range that matches a media type decides its weight. A range that is
    not well-formed is passed over; no usable range at all means that anything will do.

    Source: RFC 9110 §12.5.1.
    """
    ranges = [parsed for text in accept.split(",") if (parsed := _parse_range(text))]
    if not ranges:
        return GraphFormat.JSON
    weights = {form: _weight(view.media_type, ranges) for form, view in VIEWS.items()}
    best = max(weights, key=lambda form: weights[form])  # the first of equals
    return best if weights[best] > 0 else None


def _parse_range(text: str) -> tuple[str, float] | None:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    if media_range.count("/") != 1:
        return None
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return None
            if not 0 <= weight <= 1:
                return None
    return media_range, weight


def _weight(media_type: str, ranges: list[tuple[str, float]]) -> float:
    for pattern in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        for media_range, weight in ranges:
            if media_range == pattern:
                return weight
    return 0.0
