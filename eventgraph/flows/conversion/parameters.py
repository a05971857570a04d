"""Parameters of a format, checked by a Struct of the type, and completed from both sides."""

from typing import TypeVar

import msgspec

from eventgraph.flows.conversion.interface import ConversionPlugin
from eventgraph.flows.errors import FlowConversionError
from eventgraph.flows.format import FlowFormat

P = TypeVar("P", bound=msgspec.Struct)


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
    try:
        return msgspec.convert(checked.parameters, parameters)
    except msgspec.ValidationError as error:
        side = "provided" if checked is source else "wanted"
        raise _refusal(plugin, source, wanted, f"what is {side} cannot be: {error}") from error


def _refusal(
    plugin: ConversionPlugin, source: FlowFormat, wanted: FlowFormat, reason: str
) -> FlowConversionError:
    return FlowConversionError(
        f"{source} is provided and {wanted} is wanted: {reason}. {plugin.type}: {plugin.about}"
    )
