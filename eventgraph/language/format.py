"""AST to canonical text: ``parse(format_text(text)) == text``.

A statement to a paragraph or a line; one that does not fit goes on under its first stage.
Comments stand above the statement that they belong to.
"""

import re
from typing import Final

from .ast import Duration, NodeMention, Property, Stage, Statement, Text, Value
from .parse import classify

WIDTH: Final = 88
"""Columns."""

_WORD: Final = re.compile(r"[\w.+][\w.+\-]*")
_VALUE: Final = re.compile(r"[\w.+\-/:~%@*]+")
_SAFE_FORMAT: Final = re.compile(r"[\w.+\-/]+")
_ESCAPES: Final = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def format_text(text: Text) -> str:
    """The text in its canonical form; ends with a newline unless it is empty.

    Raises:
        ValueError: a format in it cannot be written, or half a surrogate pair.
    """
    lines: list[str] = []
    last = len(text.statements) - 1
    for number, statement in enumerate(text.statements):
        if statement.comments and lines:
            lines.append("")
        lines += _comments(statement.comments)
        body = _statement(statement)
        lines += [*body[:-1], body[-1] + (";" if number < last else "")]
    if text.comments and lines:
        lines.append("")
    lines += _comments(text.comments)
    return "".join(f"{line}\n" for line in lines)


def format_node(node: NodeMention) -> str:
    """``[name@scope:type key=value ...]``."""
    scope = "" if node.scope is None else f"@{format_name(node.scope)}"
    type_name = "" if node.type is None else f":{format_name(node.type)}"
    parts = [f"{format_name(node.name)}{scope}{type_name}", *map(_property, node.properties)]
    return f"[{' '.join(parts)}]"


def format_name(name: str) -> str:
    """A name, in quotes if it needs them."""
    return name if _WORD.fullmatch(name) else _quote(name)


def format_value(value: Value) -> str:
    """A value, in quotes if it would be read as something else without."""
    match value:
        case bool():
            return "true" if value else "false"
        case Duration():
            return f"{value.number!r}{value.unit}"
        case str():
            bare = _VALUE.fullmatch(value) and classify(value) == value
            return value if bare else _quote(value)
        case _:
            return repr(value)


def _property(item: Property) -> str:
    return f"{format_name(item.key)}={format_value(item.value)}"


def _comments(comments: tuple[str, ...]) -> list[str]:
    return [f"# {comment}".rstrip() for comment in comments]


def _statement(statement: Statement) -> list[str]:
    stages = [_stage(stage) for stage in statement.stages]
    line = " ".join(
        stage if not number else f"{_arrow(statement.stages[number])} {stage}"
        for number, stage in enumerate(stages)
    )
    if len(line) <= WIDTH:
        return [line]
    lines = _long_stage(statement.stages[0], stages[0], "")
    for stage, short in zip(statement.stages[1:], stages[1:], strict=True):
        lines += _long_stage(stage, short, f"    {_arrow(stage)} ")
    return lines


def _long_stage(stage: Stage, short: str, lead: str) -> list[str]:
    if len(stage.nodes) == 1 or len(lead) + len(short) <= WIDTH:
        return [lead + short]
    indent = "    " if not lead else "        "
    return [
        f"{lead}{{",
        *(f"{indent}{format_node(node)}," for node in stage.nodes),
        f"{indent[4:]}}}",
    ]


def _stage(stage: Stage) -> str:
    nodes = ", ".join(map(format_node, stage.nodes))
    return nodes if len(stage.nodes) == 1 else f"{{{nodes}}}"


def _arrow(stage: Stage) -> str:
    if stage.format is None:
        return "->"
    if not _SAFE_FORMAT.fullmatch(stage.format):
        raise ValueError(f"format {stage.format!r} cannot be written; use letters, digits and /.+-")
    return f"-<{stage.format}>->"


def _quote(text: str) -> str:
    return f"'{''.join(map(_escape, text))}'"


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        raise ValueError("half a surrogate pair is no text and cannot be written")
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
