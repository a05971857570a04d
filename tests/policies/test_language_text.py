"""Text to AST and back: the grammar, its errors, and anything that may be thrown at it."""

import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventgraph.language import (
    Duration,
    NodeMention,
    Property,
    Stage,
    Statement,
    Text,
    TextLimitError,
    TextSyntaxError,
    format_text,
    parse,
)
from eventgraph.language.ast import SECONDS, Value
from eventgraph.language.parse import MAX_TEXT
from tests.core.test_layers import outside

PARSE_LIMIT = 20.0
"""Seconds for the longest text; it takes about one, and test machines are slow."""


def node(text: str) -> NodeMention:
    """The only node of a text."""
    (statement,) = parse(text).statements
    return statement.stages[0].nodes[0]


def value(text: str) -> Value:
    return node(f"[a x={text}]").properties[0].value


# What is read


def test_example_of_the_reference_is_read() -> None:
    text = parse(
        "[caller:rtp_source] -> [fan:pubsub] -> "
        "{[file:wav_recorder path='call.wav'], [back:rtp_sink]};\n"
        "[fan] -<audio/pcm>-> [meter@lobby:level_meter window=0.5]"
    )
    first, second = text.statements
    assert [len(stage.nodes) for stage in first.stages] == [1, 1, 2]
    path = Property("path", "call.wav")
    assert first.stages[2].nodes[0] == NodeMention("file", None, "wav_recorder", (path,))
    assert second.stages[1] == Stage(
        (NodeMention("meter", "lobby", "level_meter", (Property("window", 0.5),)),), "audio/pcm"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-20", -20),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("PCMU", "PCMU"),
        ("127.0.0.1:5004", "127.0.0.1:5004"),
        ("a/b.wav", "a/b.wav"),
        ("'true'", "true"),
        ("'1'", "1"),
        ('"it\'s"', "it's"),
        (r"'a\'b\\c\n\t\u00e9\U0001F600'", "a'b\\c\n\té😀"),
        ("日本", "日本"),
        ("²", "²"),
        ("20ms", Duration(20, "ms")),
        ("1.5s", Duration(1.5, "s")),
        ("20mz", "20mz"),
    ],
)
def test_value_is_what_it_looks_like(text: str, expected: Value) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1.5s", 1.5), ("2min", 120.0), ("1h", 3600.0), ("250us", 0.00025)],
)
def test_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert node(f"[a x={text}]").properties[0].plain == seconds


def test_names_may_hold_anything_in_quotes() -> None:
    assert node("['a b'@\"x\ty\":'->']") == NodeMention("a b", "x\ty", "->")


def test_empty_text_has_nothing() -> None:
    for text in ("", " \n", ";;", "# only this"):
        assert parse(text).statements == ()


# What is wrong


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("[a", 1, 3, "the text ends too early; expected : or @ or ]"),
        ("[a] ->\n", 2, 1, "the text ends too early; expected [ or {"),
        ("[a] [b]", 1, 5, "'[' cannot stand here; expected -< or -> or ; or the end"),
        ("[a]\n  -> b", 2, 6, "'b' cannot stand here; expected [ or {"),
        ("[]", 1, 2, "']' cannot stand here; expected a name or a quoted string"),
        ("[a b]", 1, 5, "expected ="),
        ("[a x='y]", 1, 6, "does not end"),
        ("[a x='\\q']", 1, 7, "there is no escape"),
        ("['\\ud800']", 1, 3, "there is no escape"),
        ("['']", 1, 2, "must not be empty"),
        ("[a x=1e999]", 1, 6, "out of range"),
        (f"[a x={'9' * 50}]", 1, 6, "out of range"),
        ("{}", 1, 2, "expected ["),
        ("[a] -<x> [b]", 1, 8, "'>' cannot stand here; expected >->"),
        ("\0", 1, 1, "'\\x00' cannot stand here"),
    ],
)
def test_mistake_is_shown_where_it_is(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(TextSyntaxError) as caught:
        parse(text)
    error = caught.value
    assert (error.place.line, error.place.column) == (line, column)
    assert reason in error.message
    shown = str(error).splitlines()
    assert shown[0].startswith(f"line {line}, column {column}: ")
    assert len(shown) == 3
    assert shown[2] == " " * (3 + column) + "^"


def test_long_line_is_shown_around_the_place() -> None:
    with pytest.raises(TextSyntaxError) as caught:
        parse(f"[{'a' * 500} x=1 ! {'b' * 500}]")
    _, shown, caret = str(caught.value).splitlines()
    assert len(shown) < 90
    assert shown[caret.index("^")] == "!"


# What is written


def test_text_is_brought_into_form() -> None:
    text = """# what it is
      [a:x p = 'q' r=20ms]->{ [b] ,[ c @ d ] ,}; # beside
      # above
      [long_name_of_a_node:with_a_long_type]->[another:one_of_them]-<audio/pcm>->[and:a_third];
      # at the end"""
    assert (
        format_text(parse(text))
        == """\
# what it is
# beside
[a:x p=q r=20ms] -> {[b], [c@d]};

# above
[long_name_of_a_node:with_a_long_type]
    -> [another:one_of_them]
    -<audio/pcm>-> [and:a_third]

# at the end
"""
    )


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["true", "1", "20ms", "a", "a-b", "->", "'", "#"]
)
NUMBERS = st.integers(-(10**18) + 1, 10**18 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DURATIONS = st.builds(
    Duration,
    st.integers(-(10**9), 10**9) | st.floats(0.001, 1e6).filter(lambda x: "e" not in repr(x)),
    st.sampled_from(sorted(SECONDS)),
)
VALUES = (
    st.booleans()
    | NUMBERS
    | NAMES
    | st.just("")
    | DURATIONS
    | st.sampled_from(["5.", "1e5", "-1", "a/b", "nan", "inf", "1_0"])
)
PROPERTIES = st.lists(st.builds(Property, NAMES, VALUES), max_size=3).map(tuple)
NODES = st.builds(NodeMention, NAMES, st.none() | NAMES, st.none() | NAMES, PROPERTIES)
GROUPS = st.lists(NODES, min_size=1, max_size=3).map(tuple)
FORMATS = st.none() | st.sampled_from(["audio/pcm", "x"])
COMMENTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9).map(str.strip), max_size=2
).map(tuple)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    first = Stage(draw(GROUPS))
    rest = draw(st.lists(st.builds(Stage, GROUPS, FORMATS), max_size=3))
    return Statement((first, *rest), draw(COMMENTS))


TEXTS = st.builds(Text, st.lists(statements(), max_size=4).map(tuple), COMMENTS)


@given(TEXTS)
def test_what_is_written_is_read_again(text: Text) -> None:
    written = format_text(text)
    assert parse(written) == text
    assert format_text(parse(written)) == written


def test_half_of_a_surrogate_pair_cannot_be_written() -> None:
    for mention in (NodeMention("\ud800"), NodeMention("a", properties=(Property("x", "\udfff"),))):
        with pytest.raises(ValueError, match="surrogate"):
            format_text(Text((Statement((Stage((mention,)),)),)))
    with pytest.raises(ValueError, match="format"):
        stages = (Stage((NodeMention("a"),)), Stage((NodeMention("b"),), "a b"))
        format_text(Text((Statement(stages),)))


# What may be thrown at it


def read(text: str) -> Text | TextSyntaxError:
    try:
        return parse(text)
    except TextSyntaxError as error:
        return error


TOKENS = st.sampled_from(
    [*"[]{}@:=;,#'\"\\<>- \n", "->", "-<", ">->", "a", "1", "20ms", "true", "'x'", "é", "\0"]
)


@given(st.lists(TOKENS, max_size=40).map("".join) | st.text(max_size=60))
@example("'" * 30)
@settings(max_examples=500)
def test_anything_is_read_or_refused_with_a_place(text: str) -> None:
    found = read(text)
    if isinstance(found, TextSyntaxError):
        lines = text.split("\n")
        assert 1 <= found.place.line <= len(lines)
        assert 1 <= found.place.column <= len(lines[found.place.line - 1]) + 1
        assert found.message.count("\n") == 0
        assert str(found)
    else:
        assert parse(format_text(found)) == found


@pytest.mark.parametrize(
    "piece",
    [
        "[a]->",
        "[",
        "{",
        "{[a],",
        "[a x=1",
        "'",
        "[a x='\\",
        "#\n",
        ";",
        "-",
        "[a]-<",
        " ",
        "[a];\n",
    ],
)
def test_long_text_takes_a_bounded_time(piece: str) -> None:
    text = (piece * MAX_TEXT)[:MAX_TEXT]
    started = time.perf_counter()
    found = read(text)
    assert not isinstance(found, TextSyntaxError) or len(str(found)) < 500
    assert time.perf_counter() - started < PARSE_LIMIT


def test_text_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(TextLimitError, match="65536 characters; this has 65537"):
        parse(" " * (MAX_TEXT + 1))


def test_lark_stays_in_the_language() -> None:
    assert all(name.startswith("eventgraph.language") for name in outside("eventgraph", "lark"))
    assert outside("rtp", "lark") == []
    code = "import sys, eventgraph; print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
