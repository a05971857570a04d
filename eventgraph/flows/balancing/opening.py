"""Opening a balancer by its name; packages bring their own as entry points."""

from collections.abc import Mapping
from typing import Final

from eventgraph.flows.balancing.interface import Balancer
from eventgraph.flows.errors import FlowOptionError
from eventgraph.plugins import find_plugin

ENTRY_POINTS: Final = "eventgraph.flows.balancing"  # each names a subclass of Balancer


def open_balancer(name: str, options: Mapping[str, object] | None = None) -> Balancer:
    """The balancer of that name, new.

    Args:
        name: ``none`` and ``load`` come with eventgraph.
        options: by name, of that balancer; for ``load`` those of `LoadOptions`.
    Raises:
        FlowOptionError: there is none of that name (the message names those that exist), what
            a package brings under it is none, or the options cannot be used.
    """
    try:
        entry = find_plugin(ENTRY_POINTS, "balancer", name)
    except LookupError as error:
        raise FlowOptionError(str(error)) from None
    try:
        found = entry.load()
    except Exception as error:  # somebody else's package: whatever it raises is its fault
        raise FlowOptionError(f"the balancer {name!r} ({entry.value}): {error!r}") from error
    if not (isinstance(found, type) and issubclass(found, Balancer)):
        raise FlowOptionError(f"the balancer {name!r} ({entry.value}) is no subclass of Balancer")
    return found.from_options(options or {})
