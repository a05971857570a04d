"""The log of a process: levels by area and scope, its forms, storms, and a reader that is stuck."""

import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventgraph import Address
from rtp.logs.form import HIDDEN, MAX_LENGTH, JsonForm, Redaction, TextForm
from rtp.logs.journal import JournalForm, is_read_by_journal
from rtp.logs.levels import MAX_SCOPES, LogLevels, TooManyScopesError, UnknownAreaError
from rtp.logs.output import CLOSE_LIMIT, MAX_WAITING, LogOutput, logging_to
from rtp.logs.storm import BURST

SECRET = "tHe-sEcReT-oF-tHe-SeRvEr"
CALL, OTHER = Address("call-7", "mixer"), Address("call-8", "mixer")

graph_log = logging.getLogger("eventgraph")
http_log = logging.getLogger("rtp.http")


@pytest.fixture(autouse=True)
def levels_as_before() -> Iterator[None]:
    names = ["", "eventgraph", "rtp", "rtp.http", "eventgraph.watchdog"]
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


class Log:
    """A log that is read when it has ended."""

    def __init__(self, form: Callable[[Redaction], logging.Formatter]) -> None:
        self.stream = io.StringIO()
        self.levels = LogLevels("info")
        self.form = form(Redaction([SECRET]))
        self.output: LogOutput

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    @property
    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


@contextmanager
def logged(form: Callable[[Redaction], logging.Formatter] = TextForm) -> Iterator[Log]:
    log = Log(form)
    with logging_to(log.stream, log.form, log.levels) as log.output:
        yield log
    assert not [t for t in threading.enumerate() if t.name == "log"]


# Levels


def test_area_has_the_level_of_the_nearest_one_above() -> None:
    with logged() as log:
        http_log.debug("one")
        log.levels.set_area("rtp", "debug")
        http_log.debug("two")
        log.levels.set_area("rtp.http", "error")
        http_log.warning("three")
        logging.getLogger("rtp.flows").debug("four")
        log.levels.reset()
        http_log.debug("five")
        http_log.info("six")
        logging.getLogger("somebody.else").info("seven")
        logging.getLogger("somebody.else").warning("eight")
    assert [line.split()[-1] for line in log.lines] == ["two", "four", "six", "eight"]


def test_one_scope_is_logged_closely_and_no_other() -> None:
    with logged() as log:
        log.levels.set_scope("call-7", "debug")
        graph_log.debug("%s takes part", CALL)
        graph_log.debug("%s takes part", OTHER)
        graph_log.debug("about nobody")
        http_log.debug("%s is asked for", CALL)
        log.levels.set_scope("call-8", "error")
        graph_log.warning("%s is slow", OTHER)
        graph_log.warning("%s is slow", CALL)
        log.levels.set_scope("call-7", None)
        graph_log.debug("%s leaves", CALL)
        assert not graph_log.isEnabledFor(logging.DEBUG)  # and costs nothing again
    said = [line.split(": ")[-1] for line in log.lines]
    assert said == [
        "mixer@call-7 takes part",
        "mixer@call-7 is asked for",
        "mixer@call-7 is slow",
    ]


def test_levels_that_cannot_be_set_are_refused() -> None:
    levels = LogLevels("info")
    with pytest.raises(UnknownAreaError, match=r"nothing logs as 'nowhere'; choose .*rtp\.http"):
        levels.set_area("nowhere", "debug")
    for number in range(MAX_SCOPES):
        levels.set_scope(f"call-{number}", "debug")
    with pytest.raises(TooManyScopesError):
        levels.set_scope("one more", "debug")
    levels.set_scope("call-7", "error")  # that is there
    levels.reset()
    assert levels.scopes == {}
    assert levels.areas == {"": "warning", "eventgraph": "info", "rtp": "info"}


# Forms


def test_journal_is_told_the_priority_of_each_line() -> None:
    with logged(lambda redact: JournalForm(TextForm(redact))) as log:
        http_log.info("one")
        graph_log.error("two\n<0>three")
    one, two, three = log.lines
    assert (one[:3], two[:3]) == ("<6>", "<3>")
    assert three == "<3>    <0>three"


def test_journal_is_recognised_by_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as stream:
        assert not is_read_by_journal(stream)
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_read_by_journal(stream)
        assert not is_read_by_journal(io.StringIO())


def test_json_has_a_field_for_whatever_is_known() -> None:
    with logged(JsonForm) as log:
        try:
            raise ValueError("as expected")
        except ValueError as error:
            graph_log.error("node %s crashed in %s", CALL, "on_event", exc_info=error)
    (crash,) = log.records
    text = (
        "line one\nline two \x1b[31m \ud800"  # not logged: pytest-xdist cannot pass half a pair on
    )
    record = logging.LogRecord("rtp.http", logging.WARNING, "", 0, text, (), None)
    other = json.loads(JsonForm(Redaction([])).format(record))
    assert crash["level"] == "error"
    assert crash["area"] == "eventgraph"
    assert crash["message"] == "node mixer@call-7 crashed in on_event"
    assert (crash["scope"], crash["node"], crash["error"]) == ("call-7", "mixer", "ValueError")
    assert "ValueError: as expected" in str(crash["traceback"])
    assert other["message"] == "line one\nline two \x1b[31m \\ud800"
    assert other.keys() == {"time", "level", "area", "message"}
    stamp = str(other["time"])
    assert abs(time.time() - _seconds(stamp)) < 60
    assert stamp.endswith("Z")


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def test_text_of_others_cannot_pose_as_a_record() -> None:
    with logged() as log:
        http_log.warning("joined: %s", "x\n2026-11-21 18:55:45,123 ERROR rtp: all is lost\x1b[2J")
    first, second = log.lines
    assert first.endswith("joined: x")
    assert second.startswith("    2026-11-21")
    assert "\x1b" not in second


@pytest.mark.parametrize("form", [TextForm, JsonForm])
@pytest.mark.parametrize(
    "text",
    [
        f"it is {SECRET}, see",
        "authorization: Bearer abcdefghijklmnop.qrst",
        "password=abcdefghijklmnop.qrst",
        "DELETE /sessions/abcdefghijklmnop.qrst",
    ],
)
def test_secrets_are_taken_out(form: Callable[[Redaction], logging.Formatter], text: str) -> None:
    with logged(form) as log:
        http_log.warning("%s", text)
        http_log.warning("as an error", exc_info=ValueError(text))
    shown = log.stream.getvalue()
    assert SECRET not in shown
    assert "abcdefghijklmnop" not in shown
    assert shown.count(HIDDEN) == 2


def test_sessions_that_are_no_secrets_stay() -> None:
    with logged() as log:
        http_log.warning("GET /sessions/echo.sdp")
    assert log.lines[0].endswith("/sessions/echo.sdp")


def test_long_record_is_cut_in_the_middle() -> None:
    with logged() as log:
        http_log.warning("begin %s end", "x" * 1_000_000)
    (line,) = log.lines
    assert len(line) < MAX_LENGTH + 100
    assert line.endswith(" end")


# Bounds


def test_storm_of_one_warning_is_summed_up_and_hides_no_other() -> None:
    with logged(JsonForm) as log:
        for number in range(500):
            graph_log.warning("%s drops packet %d", CALL, number)
        graph_log.warning("%s drops packet %d", OTHER, 1)
        assert log.output.unwritten == {"storm": 500 - BURST}
    *_, other, summary = log.records
    assert other["scope"] == "call-8"
    assert summary["repeated"] == 500 - BURST
    assert summary["scope"] == "call-7"
    assert summary["level"] == "warning"
    assert len(log.records) == BURST + 2


def test_record_that_cannot_be_formatted_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logged() as log:
        for text in ("%d", "%s goes on"):  # not by a logger: pytest's own handler would raise
            log.output.handle(
                http_log.makeRecord("rtp.http", 30, "", 0, text, ("no number",), None)
            )
    assert len(log.lines) == 1
    assert "no number" in capsys.readouterr().err  # as logging does it


def test_nobody_waits_for_a_reader_that_is_stuck() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        levels = LogLevels("info")
        output = LogOutput(stream, TextForm(Redaction()), levels)
        logging.getLogger().addHandler(output)
        began = time.monotonic()
        try:
            for number in range(MAX_WAITING + 50):
                logging.getLogger("rtp").warning("x" * 10_000 + str(number))
                output._storm._all.count = 0  # that is another bound
        finally:
            logging.getLogger().removeHandler(output)
        assert output.unwritten["full"] > 0
        assert output.written["warning"] + output.unwritten["full"] == MAX_WAITING + 50
        output.close()
        assert time.monotonic() - began < 10 + 2 * CLOSE_LIMIT
        threading.Thread(target=_drain, args=(reader,), daemon=True).start()
        output._lines.put(None)
        output._thread.join()


def _drain(reader: int) -> None:
    while os.read(reader, 65536):
        pass
    os.close(reader)


def test_closed_stream_is_no_reason_to_end() -> None:
    with logged() as log:
        log.stream.close()
        http_log.warning("to nobody")
    assert log.output.unwritten == {"closed": 1}
