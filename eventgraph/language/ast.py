"""What a text of the node language says: plain data, as it was written.

Two of them are equal if they say the same; where it stands in the text does not count.
"""

from typing import Any, Final

import msgspec

SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
"""Units of durations."""


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where something stands, from 1; line 0: nowhere. All places are equal."""

    line: int = 0
    column: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place)

    def __hash__(self) -> int:
        return hash(Place)


NOWHERE: Final = Place()


class Duration(msgspec.Struct, frozen=True):
    """A time with its unit, such as 20ms."""

    number: int | float
    unit: str

    @property
    def seconds(self) -> float:
        """In seconds."""
        factor = SECONDS[self.unit]
        return self.number / round(1 / factor) if factor < 1 else self.number * factor


Value = bool | int | float | str | Duration


class Property(msgspec.Struct, frozen=True):
    """``key=value``."""

    key: str
    value: Value
    place: Place = NOWHERE

    @property
    def plain(self) -> Any:
        """The value as Python knows it; durations in seconds."""
        return self.value.seconds if isinstance(self.value, Duration) else self.value


class NodeMention(msgspec.Struct, frozen=True):
    """``[name@scope:type key=value ...]``; None is what was left out."""

    name: str
    scope: str | None = None
    type: str | None = None
    properties: tuple[Property, ...] = ()
    place: Place = NOWHERE


class Stage(msgspec.Struct, frozen=True):
    """One node, or a group in braces, and the arrow that leads to it.

    Attributes:
        nodes: one at least.
        format: that the arrow before it demands; None: it is negotiated.
        place: of the arrow, or of the stage if it is the first.
    """

    nodes: tuple[NodeMention, ...]
    format: str | None = None
    place: Place = NOWHERE


class Statement(msgspec.Struct, frozen=True):
    """A chain of stages, and the comments that belong to it, each without its ``#``."""

    stages: tuple[Stage, ...]
    comments: tuple[str, ...] = ()


class Text(msgspec.Struct, frozen=True):
    """A whole text; `comments` are those after the last statement."""

    statements: tuple[Statement, ...] = ()
    comments: tuple[str, ...] = ()
