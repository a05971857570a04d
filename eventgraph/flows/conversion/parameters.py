"""Parameters of a format, checked by a Struct of the type, and completed from both sides."""

from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from eventgraph.flows.conversion.interface import ConversionPlugin
from eventgraph.flows.conversion.picture import Picture
from eventgraph.flows.conversion.sound import Sound
from eventgraph.flows.errors import FlowConversionError, FlowOptionError
from eventgraph.flows.format import FlowFormat

P = TypeVar("P", bound=msgspec.Struct)

_CHECKED: Final[dict[str, type[msgspec.Struct]]] = {"AUDIO": Sound, "VIDEO": Picture}


def check_format(format: FlowFormat) -> None:
    """See early whether what a format says of sound or pictures can be; some may be left out.

    Raises:
        FlowOptionError: a parameter cannot be; says what it may be.
    """
    parameters = _CHECKED.get(format.type)
    if parameters is not None and (wrong := _wrong(format, parameters)):
        raise FlowOptionError(f"{format}: {wrong}")


def complete(
    plugin: ConversionPlugin, parameters: type[P], source: FlowFormat, wanted: FlowFormat
) -> FlowFormat:
    """The whole format that a consumer gets.

    Parameters that the type does not know pass from the source; none can be changed.

    Args:
        parameters: a Struct; its fields are what the type knows.
        wanted: of which some parameters are named.
    Raises:
        FlowConversionError: a side is of another type, the source is not complete, or a
            parameter is out of range or cannot be changed.
    """
    _check(plugin, parameters, source, wanted, source)
    known = parameters.__struct_fields__
    for name, value in wanted.parameters.items():
        if name not in known and source.parameters.get(name) != value:
            raise _refusal(plugin, source, wanted, f"nothing changes the parameter {name}")
    target = FlowFormat(wanted.type, {**source.parameters, **wanted.parameters})
    _check(plugin, parameters, source, wanted, target)
    return target


def both(
    plugin: ConversionPlugin, parameters: type[P], source: FlowFormat, target: FlowFormat
) -> tuple[P, P]:
    """The parameters of both sides, which are complete.

    Raises:
        FlowConversionError: they are not, or one is out of range.
    """
    return (
        _check(plugin, parameters, source, target, source),
        _check(plugin, parameters, source, target, target),
    )


def _check(
    plugin: ConversionPlugin,
    parameters: type[P],
    source: FlowFormat,
    wanted: FlowFormat,
    checked: FlowFormat,
) -> P:
    if checked.type != plugin.type or wanted.type != plugin.type:
        raise _refusal(plugin, source, wanted, f"both must be {plugin.type}")
    side = "provided" if checked is source else "wanted"
    lacking = [n for n in parameters.__struct_fields__ if n not in checked.parameters]
    if lacking:
        raise _refusal(plugin, source, wanted, f"what is {side} lacks {', '.join(lacking)}")
    if wrong := _wrong(checked, parameters):
        raise _refusal(plugin, source, wanted, f"what is {side} cannot be: {wrong}")
    return msgspec.convert(checked.parameters, parameters)


def _wrong(format: FlowFormat, parameters: type[msgspec.Struct]) -> str:
    """The first parameter that cannot be, and what it may be; empty: all can."""
    for field in msgspec.structs.fields(parameters):
        value = format.parameters.get(field.name)
        if value is None:
            continue
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            return f"{field.name} must be {_expected(field.type)}, not {value}"
    return ""


def _expected(kind: object) -> str:
    match inspect.type_info(kind):
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.StrType(pattern=str(pattern)):
            return f"one of {pattern.strip('^()$').replace('|', ', ')}"
        case other:
            raise AssertionError(f"{other} is not described; add it here")


def _refusal(
    plugin: ConversionPlugin, source: FlowFormat, wanted: FlowFormat, reason: str
) -> FlowConversionError:
    return FlowConversionError(
        f"{source} is provided and {wanted} is wanted: {reason}. {plugin.type}: {plugin.about}"
    )
