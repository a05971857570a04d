"""Reading the TOML file; each error is one line that names file, key and what was expected."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from rtp.errors import RtpError

from .config import Config, FormedText, Token

_KEY_AT_END: Final = re.compile(r".* - at `\$\.(?P<key>[^`]*)`", re.DOTALL)
_INDEX: Final = re.compile(r"(\[[^\]]*\])+$")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(RtpError):
    """The settings cannot be used; the message is one line with the way out."""


def load_config(path: Path) -> Config:
    """Read the settings from a TOML file; what it does not mention has its default.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text, as TOML has to be") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no valid TOML: {error}") from error
    try:
        return msgspec.convert(raw, Config, dec_hook=_make)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), raw)}") from error


def all_keys() -> dict[str, inspect.Type]:
    """Every key, by its dotted path, with its type; in the order of the structs."""
    return {path: kind for path, kind in _walk(_root(), "") if not _is_table(kind)}


def _make(kind: type, value: Any) -> Any:
    """Let msgspec have our own types; it adds the key to what is raised."""
    if issubclass(kind, FormedText) and isinstance(value, str):
        return kind(value)
    raise ValueError


def _explain(message: str, raw: dict[str, Any]) -> str:
    """What is wrong, for people. Unknown keys first: they may hold anything, also backquotes."""
    unknown = _find_unknown(raw, _root(), "")
    if unknown is not None:
        return _explain_unknown(*unknown)
    found = _KEY_AT_END.fullmatch(message)
    assert found is not None  # all that is left is about the value of a known key
    value: Any = raw
    kind: inspect.Type = _root()
    key = _INDEX.sub("", found["key"])  # of a list it is shown as a whole
    for part in key.split("."):
        value = value[part]
        kind = next(field.type for field in _fields(kind) if field.name == part)
    got = "something else" if _is_secret(kind) else _show(value)
    return f"{key}: expected {describe(kind)}, got {got}"


def _find_unknown(raw: dict[str, Any], table: inspect.Type, prefix: str) -> tuple[str, str] | None:
    """The first key that there is not: its table as a prefix, and its name."""
    kinds = {field.name: field.type for field in _fields(table)}
    for name, value in raw.items():
        if name not in kinds:
            return prefix, name
        if isinstance(value, dict) and _is_table(kinds[name]):
            unknown = _find_unknown(value, kinds[name], f"{prefix}{name}.")
            if unknown is not None:
                return unknown
    return None


def _explain_unknown(prefix: str, name: str) -> str:
    paths = [path for path, _ in _walk(_root(), "")]
    siblings = [p for p in paths if p.startswith(prefix) and "." not in p.removeprefix(prefix)]
    near = difflib.get_close_matches(prefix + name, siblings, 1)
    near = near or [path for path in paths if path.rpartition(".")[2] == name]
    near = near or difflib.get_close_matches(prefix + name, paths, 1, cutoff=0)
    shown = name if _BARE_KEY.fullmatch(name) else f'"{_printable(name)}"'
    return f"{prefix}{shown}: there is no such key; the nearest is {near[0]}"


def describe(kind: inspect.Type) -> str:  # noqa: PLR0911 - one answer a type
    """What a value of this type looks like, in words."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(multiple_of=2):
            return f"an even whole number {kind.ge}..{kind.le}"
        case inspect.IntType():
            return f"a whole number {kind.ge}..{kind.le}"
        case inspect.FloatType():
            return f"a number {kind.ge}..{kind.le}"
        case inspect.StrType():
            return "a text that is not empty" if kind.min_length else "a text"
        case inspect.EnumType():
            return "one of " + ", ".join(f'"{member.value}"' for member in kind.cls)
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
        case inspect.CustomType():
            assert issubclass(kind.cls, FormedText)
            return f"{kind.cls.expected}, in quotes"
        case inspect.DictType():
            return f"a table in which each key has {describe(kind.value_type)}"
        case inspect.VarTupleType():
            some = " that is not empty," if kind.min_length else ""
            return f"a list{some} of which each is {describe(kind.item_type)}"
        case inspect.StructType():
            keys = ", ".join(field.name for field in kind.fields)
            return f"a table with the keys {keys}"
    raise AssertionError(f"{kind} is not described; add it here")


def _is_secret(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.CustomType) and kind.cls is Token


def _show(value: Any) -> str:
    """The value as it stands in the file, more or less."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, str):
        return f'"{_printable(value)}"'
    return _printable(str(value))


def _printable(text: str) -> str:
    """On one line, and not too long of it."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def _root() -> inspect.Type:
    return inspect.type_info(Config)


def _is_table(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StructType)


def _fields(kind: inspect.Type) -> tuple[inspect.Field, ...]:
    return kind.fields if isinstance(kind, inspect.StructType) else ()


def _walk(kind: inspect.Type, prefix: str) -> Iterator[tuple[str, inspect.Type]]:
    for field in _fields(kind):
        yield prefix + field.name, field.type
        yield from _walk(field.type, f"{prefix}{field.name}.")
