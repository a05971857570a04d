"""The node language: say in a text what a graph is to have, and change it by another text.

    [caller:rtp_source] -> [fan:pubsub] -> {[file:wav_recorder path='call.wav'], [back:rtp_sink]};
    [fan] -> [meter@lobby:level_meter window=0.5]

From the top down, each needing only those below it::

    composition  members            what a text made in a graph; changes, all or nothing
    room  difference  describe      whether it fits; from plan to plan; a plan as a text again
    plan                            types found, properties checked, formats negotiated
    description  registry  options  what a text asks for; what types there are, and take
    format  parse  grammar          AST to text, text to AST
    ast  errors

Only `composition`, `members` and `room` know of graphs; the rest is pure. It
needs lark: the extra ``eventgraph[language]``.
"""

from .ast import Duration, NodeMention, Property, Stage, Statement, Text
from .composition import Composition, compose, diff
from .difference import Difference
from .errors import (
    CompositionError,
    ConflictError,
    LanguageError,
    LinkFormatError,
    NodeTypeError,
    TextLimitError,
    TextSyntaxError,
)
from .format import format_text
from .parse import parse
from .registry import NodeType, Registry

__all__ = [
    "Composition",
    "CompositionError",
    "ConflictError",
    "Difference",
    "Duration",
    "LanguageError",
    "LinkFormatError",
    "NodeMention",
    "NodeType",
    "NodeTypeError",
    "Property",
    "Registry",
    "Stage",
    "Statement",
    "Text",
    "TextLimitError",
    "TextSyntaxError",
    "compose",
    "diff",
    "format_text",
    "parse",
]
