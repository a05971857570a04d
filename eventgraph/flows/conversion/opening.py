"""Conversions: the plugins that are installed, by type, loaded when they are needed."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from eventgraph.flows.conversion.interface import BlockConverter, Conversion, ConversionPlugin
from eventgraph.flows.errors import FlowConversionError, FlowError
from eventgraph.flows.format import FlowFormat

logger = logging.getLogger("eventgraph")

ENTRY_POINTS: Final = "eventgraph.flows.conversion"
"""Group in which packages name their `ConversionPlugin` classes; the name there is the type."""

Load = Callable[[], Callable[[], ConversionPlugin]]
"""Gives the class of a plugin; may import it."""


class Conversions:
    """All plugins there are.

    Args:
        loads: by type.
    """

    def __init__(self, loads: Mapping[str, Load]) -> None:
        self._loads = dict(loads)
        self._plugins: dict[str, ConversionPlugin] = {}

    @property
    def types(self) -> tuple[str, ...]:
        """That have a plugin, by name."""
        return tuple(sorted(self._loads))

    def plan(self, source: FlowFormat, wanted: FlowFormat) -> Conversion:
        """How to get what is wanted from what is provided; imports no media library.

        Raises:
            FlowConversionError: it cannot be done; says why, and what can.
        """
        plugin = self._plugin(source, wanted)
        try:
            conversion = plugin.plan(source, wanted)
        except FlowError:
            raise
        except Exception as error:  # somebody else's plugin must not stop a server
            logger.exception("plugin for %s: it failed on %s to %s", source.type, source, wanted)
            raise FlowConversionError(
                f"the plugin for {source.type} failed on {source} to {wanted}: {error}"
            ) from error
        if conversion.source != source or not conversion.target.fits(wanted):
            raise FlowConversionError(
                f"the plugin for {source.type} makes {conversion.target} of {conversion.source}; "
                f"{wanted} was wanted, of {source}"
            )
        return conversion

    def open(self, conversion: Conversion) -> BlockConverter:
        """What carries it out, for one flow; imports what it takes.

        Raises:
            FlowConversionError: it is none that was planned, or what it takes is not installed.
        """
        plugin = self._plugin(conversion.source, conversion.target)
        try:
            return plugin.open(conversion)
        except ModuleNotFoundError as error:
            raise FlowConversionError(
                f"converting {conversion.source.type} takes {error.name}, which is not installed"
            ) from error

    def _plugin(self, source: FlowFormat, wanted: FlowFormat) -> ConversionPlugin:
        if source.type != wanted.type or source.type not in self._loads:
            raise FlowConversionError(
                f"{source} does not become {wanted}: only {', '.join(self.types) or 'nothing'} "
                "can be converted, each within its type"
            )
        if (known := self._plugins.get(source.type)) is not None:
            return known
        try:
            plugin = self._loads[source.type]()()
            if not isinstance(plugin, ConversionPlugin) or plugin.type != source.type:
                raise TypeError(f"{plugin!r} is no ConversionPlugin for {source.type}")
        except Exception as error:  # as above
            raise FlowConversionError(
                f"the plugin for {source.type} cannot be loaded: {error}"
            ) from error
        self._plugins[source.type] = plugin
        return plugin


def open_conversions() -> Conversions:
    """The plugins of all installed packages."""
    entries: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        entries.setdefault(entry.name, {})[entry.value] = entry
    return Conversions({type_: partial(_load, found) for type_, found in entries.items()})


def _load(entries: Mapping[str, EntryPoint]) -> Callable[[], ConversionPlugin]:
    """The only one of them, by where it stands."""
    if len(entries) > 1:
        raise FlowConversionError(f"there is more than one: {', '.join(sorted(entries))}")
    (entry,) = entries.values()
    found: Callable[[], ConversionPlugin] = entry.load()
    return found
