"""What fuzzing has found, and is mended: each by its name."""

import struct
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from eventgraph.flows.errors import FlowProtocolError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import decode_listing
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import Provide, decode_from_client, encode
from eventgraph.flows.server.records import ClaimRecord, encode_record, read_claims, read_servers
from eventgraph.flows.worker.report import decode_report
from eventgraph.pipes import DestinationOptions
from eventgraph.pipes.errors import PipeOptionError, WireError
from eventgraph.pipes.options import MAX_EVENTS
from eventgraph.pipes.wire import HEADER, MessageDecoder
from rtp.server.rules_file import RulesFile

CLAIM = encode_record(ClaimRecord("flow", "server", "machine", 7, FlowFormat(), ProviderOptions()))
DEEP = b"\x91" * 5000 + b"\xc0"  # arrays in arrays, as MessagePack has them


@pytest.mark.parametrize(
    "value",
    [
        CLAIM.replace(b'"slots":16', b'"slots":-1'),
        CLAIM.replace(b'"RAW"', b'"AUDIO","parameters":{"rate":1e400}'),
        CLAIM.replace(b'"RAW"', b'"raw"'),
        CLAIM.replace(b'"started":7', b'"started":18446744073709551615'),
        CLAIM.replace(b'{"flow"', b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"flow"'),
    ],
    ids=["option", "parameter", "type", "started", "deep"],
)
def test_claim_that_cannot_be_is_as_if_it_were_not_there(value: bytes) -> None:
    """It ended the server of flows of every machine that read it."""
    assert value != CLAIM
    good, bad = "/b/claims/group/good/0000000001", "/b/claims/group/bad/0000000001"
    (found,) = read_claims("/b", {good: CLAIM, bad: value})
    assert found.name == "good"
    assert read_servers("/b", {"/b/servers/machine/id": value}) == {}


def test_provider_that_nobody_could_come_after_is_refused() -> None:
    """The next one had to count as started later, by a number that cannot be sent: it ended the
    server."""
    provide = Provide(1, "f", FlowKey("g", "n"), FlowFormat(), 2**64 - 1, ProviderOptions())
    with pytest.raises(FlowProtocolError):
        decode_from_client(encode(provide))


@pytest.mark.parametrize("generation", ["9" * 5000, "٤٤٤٤٤٤٤٤٤٤", "²", "-1", "1", ""])
def test_generation_of_a_claim_that_is_none_is_passed_over(generation: str) -> None:
    """An int of 5000 digits raises, and digits of other scripts are digits to Python."""
    assert read_claims("/b", {f"/b/claims/group/name/{generation}": CLAIM}) == {}


@pytest.mark.parametrize("data", [b"\x83\xabapplication\xa1\x8d", b"\x83\xa1x" + DEEP])
def test_listing_that_is_no_text_or_too_deep_is_refused(data: bytes) -> None:
    with pytest.raises(FlowProtocolError, match="not a listing"):
        decode_listing(data)


def test_report_of_a_worker_that_is_too_deep_is_refused() -> None:
    with pytest.raises(FlowProtocolError, match="not a report"):
        decode_report(b"\x81\xa1x" + DEEP)


def test_listing_with_a_name_that_cannot_be_is_refused() -> None:
    pattern = {"client": "c", "name": "n", "pattern": {"group": "a b", "name": "n"}}
    machine = {"name": "here", "waiting": [pattern]}
    listing = {"application": "a", "user": "u", "machines": [machine]}
    with pytest.raises(FlowProtocolError, match="not a listing"):
        decode_listing(msgspec.msgpack.encode(listing))


def test_small_file_of_rules_takes_little_memory(tmp_path: Path) -> None:
    """It took 64 MiB, for all that such a file may have."""
    path = tmp_path / "rules.json"
    path.write_text("[]")
    tracemalloc.start()
    try:
        assert RulesFile(path).load() == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_message_of_more_events_than_are_ever_sent_is_refused_unread() -> None:
    """Sixteen million events that were none held the event loop for seconds, and took 1 GB."""
    body = struct.pack(">BI", 0xDD, MAX_EVENTS + 1) + b"\xc0" * (MAX_EVENTS + 1)
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match=f"{MAX_EVENTS} are allowed"):
            MessageDecoder().decode(HEADER.pack(b"eg", 1, 0, 1, 0) + body)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(body)  # it was 66 times
    finally:
        tracemalloc.stop()
    with pytest.raises(PipeOptionError, match="max_batch_events"):
        DestinationOptions(max_batch_events=MAX_EVENTS + 1)


def test_message_of_as_many_events_as_are_ever_sent_is_read() -> None:
    event = msgspec.msgpack.encode({"cmd": 1})
    body = struct.pack(">BI", 0xDD, MAX_EVENTS) + event * MAX_EVENTS
    assert len(MessageDecoder().decode(HEADER.pack(b"eg", 1, 0, 1, 0) + body).events) == MAX_EVENTS
