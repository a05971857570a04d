"""The commands of ``eventgraph`` for texts of the node language."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from rtp.errors import RtpError

if TYPE_CHECKING:
    from eventgraph.language.plan import Plan

STANDARD_INPUT = Path("-")

TextFile = Annotated[Path, Parameter(allow_leading_hyphen=True)]


class TextError(RtpError):
    """A file cannot be read, or what it says does not work."""


def add_text_commands(app: App, default_url: str) -> None:
    """Add them; those that ask a server look at `default_url` unless told otherwise."""

    def fmt(file: TextFile, /, *, write: Annotated[bool, Parameter(alias="-w")] = False) -> int:
        """Print a text of the node language in its canonical form.

        Parameters
        ----------
        file
            The text; - reads standard input.
        write
            Replace the file instead.
        """
        return format_file(file, write=write)

    def check(file: TextFile, /) -> int:
        """See whether a text would work: its form, types, properties and formats.

        No server is asked. Nodes without a type that no type is named after are taken to be
        nodes of others; only `eventgraph diff` can tell whether they are there.

        Parameters
        ----------
        file
            The text; - reads standard input.
        """
        return check_file(file)

    def compose(file: TextFile, /, *, url: str = default_url) -> int:
        """Have a running server make what a text says, unless it has a composition already.

        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        file
            The text; - reads standard input.
        url
            Where the server is.
        """
        return put_file(file, url, only_if_empty=True)

    def diff(file: TextFile, /, *, url: str = default_url) -> int:
        """Print what `apply` would change on a running server: + comes, - goes, ~ is replaced.

        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        file
            The text; - reads standard input.
        url
            Where the server is.
        """
        return put_file(file, url, check=True)

    def apply(file: TextFile, /, *, url: str = default_url) -> int:
        """Change what runs on a server to what a text says, and print what was changed.

        All of it is done, or nothing. What is the same before and after is not touched.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        file
            The text; - reads standard input.
        url
            Where the server is.
        """
        return put_file(file, url)

    for number, command in enumerate((fmt, check, compose, diff, apply)):
        app.command(command, sort_key=10 + number)


def format_file(file: Path, *, write: bool) -> int:
    """Raises: TextError."""
    from eventgraph.language import LanguageError, format_text, parse

    text = _read(file)
    try:
        canonical = format_text(parse(text))
    except LanguageError as error:
        raise TextError(f"{file}: {error}") from error
    if not write:
        sys.stdout.write(canonical)
    elif canonical != text:
        if file == STANDARD_INPUT:
            raise TextError("--write needs a file: standard input cannot be replaced")
        try:
            file.write_text(canonical, encoding="utf-8")
        except OSError as error:
            raise TextError(f"{file}: cannot be written: {error.strerror}") from error
    return 0


def check_file(file: Path) -> int:
    """Raises: TextError."""
    from eventgraph.language import LanguageError

    text = _read(file)
    try:
        plan = _plan(text)
    except LanguageError as error:
        error.source = text
        raise TextError(f"{file}: {error}") from error
    print(f"{file}: {len(plan.nodes)} nodes, {len(plan.links)} links")
    for address in plan.references:
        print(f"  {address} is taken to be there")
    return 0


def put_file(file: Path, url: str, *, check: bool = False, only_if_empty: bool = False) -> int:
    """Raises: RtpError."""
    from rtp.remote.asking import RemoteError
    from rtp.remote.composition import put_composition

    text = _read(file)
    token = os.environ.get("EVENTGRAPH_TOKEN", "")
    try:
        change = put_composition(url, text, token, check=check, only_if_empty=only_if_empty)
    except RemoteError as error:
        raise TextError(f"{file}: {error}") from error
    sys.stdout.write(change.to_text())
    return 0


def _plan(text: str) -> "Plan":
    from eventgraph.formats import ANYTHING
    from eventgraph.language import parse
    from eventgraph.language.description import describe_text
    from eventgraph.language.plan import make_plan
    from rtp.node_types import media_registry

    registry = media_registry()
    registry.load_entry_points()
    description = describe_text(parse(text), "main")
    others = {
        address
        for address, wish in description.nodes.items()
        if wish.type is None and not wish.properties and address.name not in registry
    }
    return make_plan(description, registry, lambda address: ANYTHING if address in others else None)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{file}: is not UTF-8") from error
