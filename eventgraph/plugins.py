"""Plugins: what installed packages bring, found by the names of their entry points."""

from importlib.metadata import EntryPoint, entry_points


def find_plugin(group: str, what: str, name: str) -> EntryPoint:
    """The one of that name; nothing is imported yet.

    Args:
        group: of entry points.
        what: it is, for people.
    Raises:
        LookupError: there is none of that name, or more than one; says which there are.
    """
    there = entry_points(group=group)
    # A package may be found twice, so they are told apart by what they point to.
    found = {entry.value: entry for entry in there if entry.name == name}
    if not found:
        names = ", ".join(sorted({entry.name for entry in there})) or "none"
        raise LookupError(f"there is no {what} {name!r}; there are {names}")
    if len(found) > 1:
        raise LookupError(f"several packages bring {what} {name!r}: {', '.join(sorted(found))}")
    return found.popitem()[1]
