"""What flows are called: {application, user, group, name}."""

import re
from typing import Final

import msgspec

from eventgraph.flows.errors import FlowNameError

MAX_NAME: Final = 64
ANY: Final = "*"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]*")


def check_name(what: str, name: str) -> str:
    """One part of a key, as it stands in file names, in the registry and on command lines.

    Raises:
        FlowNameError: it is empty, longer than `MAX_NAME` characters, or has other characters
            than ASCII letters, digits and ``._@:+-``, or does not begin with a letter or digit.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise FlowNameError(
            f"the {what} {name!r} must be 1 to {MAX_NAME} letters, digits and ._@:+-, "
            "and begin with a letter or digit"
        )
    return name


class FlowKey(msgspec.Struct, frozen=True, order=True):
    """Names one flow in one application of one user: ``group/name``.

    For a graph, the group is a node's scope, and the name its name.

    Raises:
        FlowNameError: a part cannot be a name.
    """

    group: str
    name: str

    def __post_init__(self) -> None:
        check_name("group", self.group)
        check_name("name of a flow", self.name)

    @classmethod
    def parse(cls, text: str) -> "FlowKey":
        """Read ``group/name``.

        Raises:
            FlowNameError: it is none.
        """
        group, slash, name = text.partition("/")
        if not slash:
            raise FlowNameError(f"{text!r} is no flow; one looks like group/name")
        return cls(group, name)

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


class FlowPattern(msgspec.Struct, frozen=True, order=True):
    """The flows that a consumer wants: a group, or ``*`` for any, and a name.

    Raises:
        FlowNameError: a part cannot be a name.
    """

    group: str
    name: str

    def __post_init__(self) -> None:
        if self.group != ANY:
            check_name("group", self.group)
        check_name("name of a flow", self.name)

    @classmethod
    def parse(cls, text: str) -> "FlowPattern":
        """Read ``group/name`` or ``*/name``.

        Raises:
            FlowNameError: it is none.
        """
        group, slash, name = text.partition("/")
        if not slash:
            raise FlowNameError(f"{text!r} names no flows; it looks like group/name or */name")
        if ANY in name or (ANY in group and group != ANY):
            raise FlowNameError(
                f"{text!r} is no pattern: only a whole group can be {ANY}, as in {ANY}/name"
            )
        return cls(group, name)

    def matches(self, key: FlowKey) -> bool:
        """Whether it is one of them."""
        return self.name == key.name and self.group in (ANY, key.group)

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


class Realm(msgspec.Struct, frozen=True, order=True):
    """Who sees each other: one application of one user. Others do not exist for it.

    Raises:
        FlowNameError: a part cannot be a name.
    """

    application: str
    user: str

    def __post_init__(self) -> None:
        check_name("application", self.application)
        check_name("user", self.user)

    def __str__(self) -> str:
        return f"{self.application} of {self.user}"
