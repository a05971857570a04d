"""Opening an authentication by its name: each is an entry point, also of other packages."""

from importlib.metadata import EntryPoint
from typing import Final

from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.errors import FlowOptionError
from eventgraph.plugins import find_plugin

ENTRY_POINTS: Final = "eventgraph.flows.authentication"
"""Group in which packages name what makes an `Authentication` from `AuthenticationOptions`."""


def open_authentication(options: AuthenticationOptions) -> Authentication:
    """Make the one that the options name; only it is imported.

    Raises:
        FlowOptionError: no package brings it, or more than one, or it is not as it should be;
            and whatever is wrong with the options.
    """
    try:
        entry = find_plugin(ENTRY_POINTS, "authentication", options.method)
    except LookupError as error:
        raise FlowOptionError(str(error)) from None
    make = _load(entry)
    made = make(options) if callable(make) else make
    if not isinstance(made, Authentication):
        raise FlowOptionError(f"the entry point {options.method!r} makes no Authentication")
    return made


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise FlowOptionError(
            f"the authentication {entry.name!r} cannot be loaded ({error}): "
            "install what it needs; certificates need the package cryptography"
        ) from error
