"""The options of a type of node: properties checked and converted by msgspec."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union

import msgspec

from eventgraph.node import Node

SCALARS: Final = (bool, int, float, str)


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every node takes; None: as its class has it."""

    max_links: Annotated[int, msgspec.Meta(ge=0, le=65536)] | None = None
    channel_size: Annotated[int, msgspec.Meta(ge=1, le=65536)] | None = None
    restart: bool = False  # after a crash


LIMITS: Final = frozenset(Limits.__struct_fields__)


def options_of(name: str, make: Callable[..., Node]) -> type[msgspec.Struct]:
    """A Struct with a field for each keyword parameter that a text can give.

    Those are parameters of a number, a string, a path, true or false, some literal words, or
    one of them or None. Parameters of other types keep their defaults.

    Raises:
        TypeError: a parameter has no annotation, or no default and a type that no text has.
    """
    function = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(make).parameters.values())
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in parameters[2:]:  # after scope and name
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        optional = parameter.default is not parameter.empty
        written = _written(hints.get(parameter.name))
        if written is not None:
            field = (parameter.name, written)
            fields.append((*field, parameter.default) if optional else field)
        elif not optional:
            raise TypeError(
                f"type {name!r}: no text can give its parameter {parameter.name!r}; "
                "register a factory with a Struct of options"
            )
    return msgspec.defstruct(
        f"{name} options", fields, frozen=True, kw_only=True, forbid_unknown_fields=True
    )


def convert(options: type[msgspec.Struct], properties: Mapping[str, Any]) -> msgspec.Struct:
    """Properties as options.

    Raises:
        ValueError: one is unknown, missing or wrong; says what there is.
    """
    fields = msgspec.structs.fields(options)
    unknown = [key for key in properties if key not in {field.name for field in fields}]
    if unknown:
        known = sorted({field.name for field in fields} | LIMITS)
        raise ValueError(f"there is no property {unknown[0]!r}; there are {', '.join(known)}")
    missing = [field.name for field in fields if field.required and field.name not in properties]
    if missing:
        raise ValueError(f"the property {missing[0]!r} is missing")
    try:
        return msgspec.convert(dict(properties), options)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`").partition(".")[0]
        given = f"{key} is {properties[key]!r}: " if key in properties else ""
        words = next((_words(field.type) for field in fields if field.name == key), ())
        if words:
            reason = f"choose {', '.join(words)}"
        raise ValueError(f"{given}{reason[:1].lower()}{reason[1:]}") from error


def limits_of(properties: Mapping[str, Any]) -> Limits:
    """The limits among properties; raises as `convert`."""
    limits = convert(Limits, {key: value for key, value in properties.items() if key in LIMITS})
    assert isinstance(limits, Limits)
    return limits


def _written(hint: Any) -> Any:
    """The type that a text gives for a parameter of this one; None: no text can."""
    if hint in SCALARS or hint is type(None):
        return hint
    if hint is Path:
        return str
    origin = typing.get_origin(hint)
    if origin is Literal:
        return hint
    if origin is Annotated:
        inner, *rest = typing.get_args(hint)
        written = _written(inner)
        return None if written is None else Annotated[(written, *rest)]
    if origin in {Union, types.UnionType}:
        members = [w for member in typing.get_args(hint) if (w := _written(member)) is not None]
        return Union[tuple(members)] if set(members) != {type(None)} else None  # noqa: UP007
    return None


def _words(hint: Any) -> tuple[str, ...]:
    """Those that a type allows, if it is made of words."""
    if typing.get_origin(hint) is Literal:
        return tuple(map(str, typing.get_args(hint)))
    return tuple(word for member in typing.get_args(hint) for word in _words(member))
