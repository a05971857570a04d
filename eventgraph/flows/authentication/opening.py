"""Opening an authentication by its name: each is an entry point, also of other packages."""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.errors import FlowOptionError

ENTRY_POINTS: Final = "eventgraph.flows.authentication"
"""Group in which packages name what makes an `Authentication` from `AuthenticationOptions`."""


def open_authentication(options: AuthenticationOptions) -> Authentication:
    """Make the one that the options name; only it is imported.

    Raises:
        FlowOptionError: no package brings it, or more than one, or it is not as it should be;
            and whatever is wrong with the options.
    """
    make = _load(_find(options.method))
    made = make(options) if callable(make) else make
    if not isinstance(made, Authentication):
        raise FlowOptionError(f"the entry point {options.method!r} makes no Authentication")
    return made


def _find(method: str) -> EntryPoint:
    # a package may be found twice, so they are told apart by what they point to
    found = {entry.value: entry for entry in entry_points(group=ENTRY_POINTS, name=method)}
    if not found:
        there = sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})
        raise FlowOptionError(
            f"there is no authentication {method!r}; there are {', '.join(there) or 'none'}"
        )
    if len(found) > 1:
        raise FlowOptionError(
            f"several packages bring an authentication {method!r}: {', '.join(sorted(found))}"
        )
    return found.popitem()[1]


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise FlowOptionError(
            f"the authentication {entry.name!r} cannot be loaded ({error}): "
            "install what it needs; certificates need the package cryptography"
        ) from error
