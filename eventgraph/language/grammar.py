"""The grammar of the node language, and its parser by lark (LALR: linear time, no recursion)."""

from typing import Final

from lark import Lark

GRAMMAR: Final = r"""
    start: ";"* (statement (";"+ statement)* ";"*)?
    statement: stage (arrow stage)*
    arrow: ARROW | OPEN_ARROW FORMAT CLOSE_ARROW
    stage: node | group
    group: "{" node ("," node)* ","? "}"
    node: "[" name ["@" name] [":" name] property* "]"
    property: name "=" value
    name: WORD | STRING
    value: VALUE | STRING

    ARROW: "->"
    OPEN_ARROW: "-<"
    CLOSE_ARROW: ">->"
    FORMAT: /[\w.+\-\/]+/
    WORD: /[\w.+][\w.+\-]*/
    VALUE: /[\w.+\-\/:~%@*]+/
    STRING: /'([^'\\\n]|\\.)*'|"([^"\\\n]|\\.)*"/
    COMMENT: /#[^\n]*/
    %import common.WS
    %ignore WS
    %ignore COMMENT
"""

TERMINALS: Final = {
    "$END": "the end",
    "ARROW": "->",
    "AT": "@",
    "CLOSE_ARROW": ">->",
    "COLON": ":",
    "COMMA": ",",
    "EQUAL": "=",
    "FORMAT": "a format",
    "LBRACE": "{",
    "LSQB": "[",
    "OPEN_ARROW": "-<",
    "RBRACE": "}",
    "RSQB": "]",
    "SEMICOLON": ";",
    "STRING": "a quoted string",
    "VALUE": "a value",
    "WORD": "a name",
}
"""What people call the terminals."""


def make_parser(on_comment: object) -> Lark:
    """A parser that can be used from several threads; `on_comment` takes and gives a token."""
    return Lark(
        GRAMMAR, parser="lalr", propagate_positions=True, lexer_callbacks={"COMMENT": on_comment}
    )
