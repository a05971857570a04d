"""Text to AST."""

import re
import sys
from contextvars import ContextVar
from math import isfinite
from typing import Final

from lark import Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from .ast import SECONDS, Duration, NodeMention, Place, Property, Stage, Statement, Text, Value
from .errors import TextLimitError, TextSyntaxError
from .grammar import TERMINALS, make_parser

MAX_TEXT: Final = 65_536
"""Characters; lark takes about a second for them: parse in a thread where others wait."""

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?[\d.]+)({'|'.join(SECONDS)})", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}

_comments: ContextVar[list[Token]] = ContextVar("_comments")


def _keep_comment(token: Token) -> Token:
    _comments.get().append(token)
    return token


_PARSER: Final = make_parser(_keep_comment)


def parse(text: str) -> Text:
    """Read a text.

    Raises:
        TextSyntaxError: it is none; says where, and what could stand there.
        TextLimitError: it is too long.
    """
    if len(text) > MAX_TEXT:
        raise TextLimitError(f"a text may have {MAX_TEXT} characters; this has {len(text)}")
    comments: list[Token] = []
    reset = _comments.set(comments)
    try:
        tree = _PARSER.parse(text)
        return _Reader(comments).text(tree)
    except UnexpectedInput as error:
        raise TextSyntaxError(_reason(error), _place_of(error, text), text) from None
    except TextSyntaxError as error:
        error.source = text
        raise
    finally:
        _comments.reset(reset)


def classify(word: str) -> Value | None:
    """What a value without quotes is; None: a number out of range."""
    if word in {"true", "false"}:
        return word == "true"
    if _NUMBER.fullmatch(word):
        return _number(word)
    if (found := _DURATION.fullmatch(word)) and _NUMBER.fullmatch(found[1]):
        number = _number(found[1])
        return None if number is None else Duration(number, found[2])
    return word


def _number(word: str) -> int | float | None:
    if _INTEGER.fullmatch(word):
        return int(word)
    if word.lstrip("+-").isdigit():  # an int of more digits than any option has
        return None
    number = float(word)
    return number if isfinite(number) else None


class _Reader:
    """Turns lark's tree into the AST; the tree is six levels deep, whatever the text."""

    def __init__(self, comments: list[Token]) -> None:
        self._comments = comments[::-1]  # those that are not given to a statement yet

    def text(self, tree: Tree[Token]) -> Text:
        found = _trees(tree)
        starts = [*(following.meta.start_pos for following in found[1:]), sys.maxsize]
        statements = tuple(map(self._statement, found, starts))
        return Text(statements, tuple(map(_comment, self._comments[::-1])))

    def _statement(self, tree: Tree[Token], next_start: int) -> Statement:
        stages: list[Stage] = []
        wanted: str | None = None
        place: Place | None = None
        for child in _trees(tree):
            if child.data == "arrow":
                tokens = _tokens(child)
                wanted = str(tokens[1]) if len(tokens) > 1 else None
                place = _place(tokens[0])
            else:
                one = _trees(child)[0]
                members = _trees(one) if one.data == "group" else [one]
                nodes = tuple(_node(member) for member in members)
                stages.append(Stage(nodes, wanted, place or nodes[0].place))
        return Statement(tuple(stages), self._comments_of(tree, next_start))

    def _comments_of(self, tree: Tree[Token], next_start: int) -> tuple[str, ...]:
        """Those before its end, and the one beside it on its last line."""
        found: list[str] = []
        while self._comments:
            comment = self._comments[-1]
            begins = comment.start_pos or 0
            beside = comment.line == tree.meta.end_line and begins < next_start
            if begins >= tree.meta.end_pos and not beside:
                break
            found.append(_comment(self._comments.pop()))
        return tuple(found)


def _comment(token: Token) -> str:
    return token[1:].strip()


def _node(tree: Tree[Token]) -> NodeMention:
    names: list[str | None] = []
    properties: list[Property] = []
    for child in tree.children:
        if isinstance(child, Tree) and child.data == "property":
            properties.append(_property(child))
        else:
            names.append(_name(child) if isinstance(child, Tree) else None)
    name, scope, type_name = names
    assert name is not None
    return NodeMention(name, scope, type_name, tuple(properties), _start(tree))


def _property(tree: Tree[Token]) -> Property:
    key, value = _trees(tree)
    return Property(_name(key), _value(_tokens(value)[0]), _start(tree))


def _name(tree: Tree[Token]) -> str:
    token = _tokens(tree)[0]
    text = _unquote(token) if token.type == "STRING" else str(token)
    if not text:
        raise TextSyntaxError("a name must not be empty", _place(token))
    return text


def _value(token: Token) -> Value:
    if token.type == "STRING":
        return _unquote(token)
    value = classify(str(token))
    if value is None:
        raise TextSyntaxError(f"the number {_short(token)} is out of range", _place(token))
    return value


def _unquote(token: Token) -> str:
    def character(found: re.Match[str]) -> str:
        escape = found[1]
        if len(escape) > 1:
            number = int(escape[1:], 16)
            if number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF:  # no half of a pair
                return chr(number)
        elif escape in _ESCAPES:
            return _ESCAPES[escape]
        place = _place(token, offset=found.start() + 1)
        raise TextSyntaxError(
            rf"there is no escape {found[0]!a}; there are \\ \' \" \n \r \t \uXXXX \UXXXXXXXX",
            place,
        )

    return _ESCAPE.sub(character, token[1:-1])


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _tokens(tree: Tree[Token]) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token)]


def _start(tree: Tree[Token]) -> Place:
    return Place(tree.meta.line, tree.meta.column)


def _place(token: Token, offset: int = 0) -> Place:
    return Place(token.line or 0, (token.column or 0) + offset)


# Errors


def _reason(error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedCharacters):
        if error.char in "'\"":
            return "this quoted string does not end, or may not stand here"
        return f"{error.char!a} cannot stand here; {_could(error.allowed or set())}"
    if isinstance(error, UnexpectedToken):
        expected = _could(set(error.accepts or error.expected))
        if error.token.type == "$END":
            return f"the text ends too early; {expected}"
        return f"{_short(error.token)} cannot stand here; {expected}"
    return "the text ends too early"


def _could(terminals: set[str]) -> str:
    names = sorted(TERMINALS[name] for name in terminals if name in TERMINALS)
    return f"expected {' or '.join(names)}"


def _short(token: str) -> str:
    return ascii(str(token) if len(token) <= 40 else f"{token[:37]}...")


def _place_of(error: UnexpectedInput, text: str) -> Place:
    ends = isinstance(error, UnexpectedEOF)
    ends = ends or (isinstance(error, UnexpectedToken) and error.token.type == "$END")
    if ends or error.line < 1:
        lines = text.split("\n")
        return Place(len(lines), len(lines[-1]) + 1)
    return Place(error.line, error.column)
