"""Keys and values in the registry; others may write there what they like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.pipes.errors import PipeNameError, PipeOptionError
from eventgraph.pipes.options import (
    Binding,
    DestinationOptions,
    Reliability,
    check_name,
    check_prefix,
)
from eventgraph.pipes.records import (
    MemberRecord,
    PipeRecord,
    SenderRecord,
    encode_record,
    member_key,
    pipe_key,
    read_entries,
    sender_key,
)

PREFIX = "/streams/destinations"


def test_what_was_written_is_read() -> None:
    sender = SenderRecord("id", "host", 1, Reliability.AT_LEAST_ONCE)
    pipe = PipeRecord("tcp://h:1", 7, control="tcp://h:2")
    member = MemberRecord("host", 2)
    entry = read_entries(
        PREFIX,
        {
            sender_key(PREFIX, "sound"): encode_record(sender),
            pipe_key(PREFIX, "sound", "recorders"): encode_record(pipe),
            member_key(PREFIX, "sound", "recorders", "m"): encode_record(member),
        },
    )["sound"]
    assert entry.sender == sender
    assert entry.groups["recorders"].pipe == pipe
    assert entry.groups["recorders"].members == {"m": member}


def test_pipe_of_a_foreign_sender_can_be_written_by_hand() -> None:
    entries = {pipe_key(PREFIX, "sound", "g"): b'{"url": "tcp://h:1", "raw": true}'}
    pipe = read_entries(PREFIX, entries)["sound"].groups["g"].pipe
    assert pipe == PipeRecord("tcp://h:1", raw=True)


@given(st.dictionaries(st.text("/abc", max_size=9).map(lambda k: f"{PREFIX}/{k}"), st.binary()))
def test_junk_is_as_if_it_were_not_there(entries: dict[str, bytes]) -> None:
    read_entries(PREFIX, entries)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 201, "a\nb", "\0"])
def test_names_that_cannot_stand_in_a_key_are_refused(name: str) -> None:
    with pytest.raises(PipeNameError):
        check_name("group", name)


def test_prefix_is_a_path() -> None:
    assert check_prefix("/a/b/") == "/a/b"
    for prefix in ("", "a/b", "/a\nb", "/" + "x" * 500):
        with pytest.raises(PipeNameError):
            check_prefix(prefix)


def test_options_without_sense_are_refused() -> None:
    with pytest.raises(PipeOptionError, match="queue_size is 0"):
        DestinationOptions(queue_size=0)
    with pytest.raises(PipeOptionError, match="ack_timeout is nan"):
        DestinationOptions(ack_timeout=float("nan"))
    with pytest.raises(PipeOptionError, match="raw"):
        DestinationOptions(raw=True, reliability=Reliability.AT_LEAST_ONCE)
    for ports in ((5, 1), (0, 9), (1, 70_000)):
        with pytest.raises(PipeOptionError, match="ports"):
            Binding(ports=ports)
