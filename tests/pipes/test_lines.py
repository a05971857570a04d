"""Lines of text and events, without a pipe between them."""

import contextlib
import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Address, Event
from rtp.pipes.lines import LineError, LineFormat, LineSplitter, line_reader, line_writer


@given(st.lists(st.binary() | st.just(b"\n")))
def test_lines_are_the_same_however_they_are_read(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()
    whole = b"".join(chunks).split(b"\n")
    assert lines == (whole if whole[-1] else whole[:-1])


def test_line_without_an_end_is_refused() -> None:
    splitter = LineSplitter(limit=10)
    assert splitter.feed(b"0123456789\n") == [b"0123456789"]
    splitter.feed(b"01234")
    with pytest.raises(LineError, match="longer than 10 bytes"):
        splitter.feed(b"567890")


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
values = st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=9)
addresses = st.none() | st.builds(Address, st.text(), st.text())


@given(st.builds(Event, st.integers(-(2**63), 2**63 - 1), values | st.binary(), addresses))
def test_event_is_the_same_after_a_line_of_json(event: Event) -> None:
    line = line_writer("json")(event, False)
    assert line.count(b"\n") == 1
    assert line_reader("json")(line[:-1]) == event


@given(st.binary())
def test_no_line_breaks_the_reader(line: bytes) -> None:
    forms: tuple[LineFormat, ...] = ("json", "text")
    for form in forms:
        with contextlib.suppress(LineError):
            line_reader(form)(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", "not JSON"),
        (b'{"cmd":"x"}', "not an event: .*int"),
        (b'{"cmd":1,"ojb":2}', "not an event: .*ojb"),
        (b'{"cmd":1,"obj":2,"base64":""}', "either an obj or base64"),
        (b'{"cmd":1,"base64":"?"}', "not base64"),
        (b"[" * 100_000, "not JSON|too deeply"),
        (b'"\xff"', "not JSON"),
    ],
)
def test_line_that_is_no_event_is_refused(line: bytes, expected: str) -> None:
    with pytest.raises(LineError, match=expected):
        line_reader("json")(line)


@pytest.mark.parametrize(
    ("form", "payload", "line"),
    [
        ("json", msgspec.msgpack.Ext(5, b"\0"), b'{"cmd":1,"obj":{"ext":5,"base64":"AA=="}}\n'),
        ("json", {(1, 2): 3}, b'{"cmd":1,"repr":"{(1, 2): 3}"}\n'),
        ("json", {"a": b"\0"}, b'{"cmd":1,"obj":{"a":"AA=="}}\n'),
        ("json", datetime.date(2026, 1, 2), b'{"cmd":1,"obj":"2026-01-02"}\n'),
        ("text", b"\xffa", b"\\xffa\n"),
        ("text", {"a": 1}, b'{"a":1}\n'),
        ("bytes", {(1, 2): 3}, b"{(1, 2): 3}\n"),
        ("bytes", b"\xff\n", b"\xff\n\n"),
    ],
)
def test_any_payload_can_be_printed(form: LineFormat, payload: Any, line: bytes) -> None:
    assert line_writer(form)(Event(1, payload), False) == line


def test_event_that_comes_again_is_marked() -> None:
    assert line_writer("json")(Event(1, 2), True) == b'{"cmd":1,"obj":2,"redelivered":true}\n'
    assert line_reader("json")(b'{"cmd":1,"obj":2,"redelivered":true}') == Event(1, 2)
