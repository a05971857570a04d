"""What is wrong with a text, and where."""

from typing import Final

from eventgraph.errors import FormatMismatchError, GraphError

from .ast import NOWHERE, Place

SHOWN: Final = 72
"""Characters of a line that are shown around the place."""


class LanguageError(GraphError):
    """The base of all that is wrong with a text.

    Attributes:
        message: one line that says what to do.
        place: where.
        source: the text, once known; then `str` shows the line with a caret under the place.
    """

    def __init__(self, message: str, place: Place = NOWHERE, source: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.source = source

    def __str__(self) -> str:
        if not self.place.line:
            return self.message
        head = f"line {self.place.line}, column {self.place.column}: {self.message}"
        return head if self.source is None else f"{head}\n{_picture(self.source, self.place)}"


class TextSyntaxError(LanguageError):
    """It is no text of the node language."""


class TextLimitError(LanguageError):
    """It is longer, or asks for more, than is allowed."""


class ConflictError(LanguageError):
    """It says two things of one node or link, or what the graph has is in its way."""


class NodeTypeError(LanguageError):
    """No such type of node, or no such property, or a wrong value."""


class LinkFormatError(LanguageError, FormatMismatchError):
    """Two nodes have no format in common, and no converters lead from one to the other."""


class CompositionError(LanguageError):
    """A node did not come up, or did not leave; what was done is undone."""


def _picture(source: str, place: Place) -> str:
    """The line, and a caret under the column; tabs are one blank wide."""
    lines = source.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    line = "".join(c if c.isprintable() else " " for c in line)
    begin = max(0, min(place.column - 1 - SHOWN // 2, len(line) - SHOWN))
    return f"    {line[begin : begin + SHOWN]}\n    {' ' * (place.column - 1 - begin)}^"
