"""Which types of node a text can name, and how each is made."""

import logging
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from inspect import getdoc
from typing import Any, Final, TypeVar

import msgspec

from eventgraph.formats import Capabilities, Converter, ConverterRegistry, capabilities_of
from eventgraph.node import Node

from .options import LIMITS, options_of

logger = logging.getLogger("eventgraph")

ENTRY_POINTS: Final = "eventgraph.nodes"
"""Group in which other packages name their node classes; the name there is the type."""

N = TypeVar("N", bound=type[Node])

Factory = Callable[[str, str, Any, Any], Node]
"""From scope, name, options and the context of the composition to a node."""


class NodeType(msgspec.Struct, frozen=True):
    """A type of node.

    Attributes:
        options: a Struct; its fields are the properties, besides those that all nodes have.
        make: the factory.
        about: one line.
        converter: what it converts, if it is one.
    """

    name: str
    node_class: type[Node]
    options: type[msgspec.Struct]
    make: Factory
    capabilities: Capabilities
    about: str = ""
    converter: Converter | None = None


class Registry:
    """Types of node by name, and the converters among them.

    Attributes:
        converters: by which formats are negotiated.
    """

    def __init__(self, converters: ConverterRegistry | None = None) -> None:
        self.converters = ConverterRegistry() if converters is None else converters
        self._types: dict[str, NodeType] = {}
        self._by_class: dict[type[Node], NodeType] = {}

    def __iter__(self) -> Iterator[NodeType]:
        """By name."""
        return iter(sorted(self._types.values(), key=lambda node_type: node_type.name))

    def register(
        self,
        name: str,
        node_class: type[Node],
        *,
        options: type[msgspec.Struct] | None = None,
        make: Factory | None = None,
        capabilities: Capabilities | None = None,
        converts: tuple[str, str] | None = None,
        cost: float = 100.0,
    ) -> NodeType:
        """Let texts name a node class.

        Args:
            options: its properties; None: from the keyword parameters of its constructor.
            make: makes one; None: the class, with the options as keywords.
            capabilities: None: what the class declares, or what a converter converts.
            converts: from which format to which, if it is to be put between others; then
                none of its properties may be required.
            cost: of the conversion; see `Converter`.
        Raises:
            ValueError: the name is taken or empty, or a converter cannot be one.
            TypeError: no options can be derived, or they are not usable.
        """
        if not name or name in self._types:
            raise ValueError(f"there is a type {name!r} already" if name else "a type has a name")
        options = options_of(name, node_class) if options is None else options
        fields = msgspec.structs.fields(options)
        if taken := sorted(LIMITS & {field.name for field in fields}):
            raise TypeError(f"type {name!r}: {taken[0]} is a property of all nodes")
        converter: Converter | None = None
        if converts is not None:
            if required := [field.name for field in fields if field.required]:
                raise ValueError(f"converter {name!r} cannot do without {required[0]}")
            converter = Converter(name, *converts, cost)
            capabilities = capabilities or Capabilities((converter.target,), (converter.source,))
            self.converters.add(converter)
        elif capabilities is None:
            capabilities = capabilities_of(node_class)
        about = (getdoc(node_class) or "").partition("\n")[0]
        node_type = NodeType(
            name,
            node_class,
            options,
            make or _by_keywords(node_class),
            capabilities,
            about,
            converter,
        )
        self._types[name] = node_type
        self._by_class.setdefault(node_class, node_type)
        return node_type

    def node(self, name: str) -> Callable[[N], N]:
        """A decorator that registers a class with what it declares; raises as `register`."""

        def decorate(node_class: N) -> N:
            self.register(name, node_class)
            return node_class

        return decorate

    def load_entry_points(self) -> None:
        """Register what installed packages bring; what cannot be loaded is logged, and left out."""
        for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
            try:
                found = entry.load()
                if not (isinstance(found, type) and issubclass(found, Node)):
                    raise TypeError(f"{found!r} is no subclass of Node")
                self.register(entry.name, found)
            except Exception:  # somebody else's package must not stop this program
                logger.exception("entry point %s: no type of node is to be had", entry)

    def find(self, name: str) -> NodeType:
        """The type of that name.

        Raises:
            LookupError: there is none; says what is near.
        """
        try:
            return self._types[name]
        except KeyError:
            near = get_close_matches(name, self._types, n=1)
            there = f"did you mean {near[0]!r}?" if near else f"there are {self._names()}"
            raise LookupError(f"there is no type of node {name!r}; {there}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def capabilities_of(self, node: Node) -> Capabilities:
        """Of a node that somebody else made."""
        known = self._by_class.get(type(node))
        return capabilities_of(type(node)) if known is None else known.capabilities

    def _names(self) -> str:
        return ", ".join(sorted(self._types)) or "none"


def _by_keywords(node_class: type[Node]) -> Factory:
    def make(scope: str, name: str, options: Any, _context: Any) -> Node:
        return node_class(scope, name, **msgspec.structs.asdict(options))

    return make
