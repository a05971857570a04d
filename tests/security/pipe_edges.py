"""What comes over pipes and from registries, which others write to as well."""

import random
from base64 import b64encode
from typing import Final

from eventgraph import Address, Event, FollowedEvent, TraceContext
from eventgraph.pipes.embedded import protocol as embedded
from eventgraph.pipes.errors import RegistryError, WireError
from eventgraph.pipes.etcd import messages as etcd
from eventgraph.pipes.etcd.gateway import _decode as decode_answer
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.nng.web import check_answer, web_answer, web_request
from eventgraph.pipes.options import Reliability
from eventgraph.pipes.records import (
    MemberRecord,
    PipeRecord,
    SenderRecord,
    encode_record,
    read_entries,
)
from eventgraph.pipes.wire import (
    EventEncoder,
    MessageDecoder,
    Range,
    Reply,
    Report,
    decode_reply,
    decode_report,
    encode_control,
    encode_message,
)

from .edge import Edge, any_of

_encode = EventEncoder().encode
EVENTS: Final = [
    Event(1, {"text": ["a", 1.5, None, b"bytes"]}, Address("scope", "name")),
    Event(2, b"payload"),
    FollowedEvent(3, b"payload", trace=TraceContext(f"00-{'1' * 32}-{'2' * 16}-01", 4)),
]
MESSAGES: Final = (
    encode_message(7, 9, [_encode(event) for event in EVENTS]),
    encode_message(7, 2**63, [_encode(EVENTS[0])] * 40, redelivered=True),
    encode_message(7, 0, []),
)
CONTROL: Final = (
    encode_control(Report("group", "member", 7, [1, 2], [Range(0, 5)], leaving=True, number=4)),
    encode_control(Reply(True)),
)
RECORDS: Final = (
    encode_record(SenderRecord("id", "host", 1, Reliability.AT_LEAST_ONCE)),
    encode_record(PipeRecord("tcp://127.0.0.1:5555", 7, control="tcp://127.0.0.1:5556")),
    encode_record(MemberRecord("host", 1)),
)
KEY: Final = b64encode(bytes(16)).decode()
GREETINGS: Final = (
    web_request("127.0.0.1:80", "/path", Protocol.PUSH, KEY),
    web_answer(web_request("127.0.0.1:80", "/path", Protocol.PUSH, KEY), "/path", Protocol.PUSH),
)
ASKED: Final = tuple(
    embedded.encode(message)[4:]
    for message in (
        embedded.Ping(1),
        embedded.Put(2, 3, "/key", b"value"),
        embedded.Watch(3, 4, "/prefix"),
        embedded.Changes(1, True, {"/key": b"value"}, ["/gone"]),
        embedded.Refused(1, "no", lost=True),
    )
)
WATCHED: Final = (
    b'{"result": {"header": {"cluster_id": "1", "revision": "5"}, "events": '
    b'[{"kv": {"key": "YQ==", "value": "Yg==", "lease": "7"}, "type": "DELETE"}]}}',
    b'{"header": {"cluster_id": "1"}, "kvs": [{"key": "YQ=="}], "more": true}',
    b'{"result": {"header": {"cluster_id": "1"}, "ID": "7", "TTL": "5"}}',
)

_DECODERS: Final = (
    MessageDecoder(),
    MessageDecoder(memoryview),
    MessageDecoder(dict[str, int]),
    MessageDecoder(max_elements=20),
)


def read_message(data: bytes) -> None:
    """By members of all kinds; each knows how many events there were."""
    for decoder in _DECODERS:
        message = decoder.decode(data)
        unread = message.malformed + message.oversized
        assert message.count(len(message.events)) == len(message.events) + unread


def read_registry(data: bytes) -> None:
    """One value under keys of each kind; and a key out of it."""
    keys = ["name/sender", "name/group/pipe", "name/group/members/id"]
    keys.append(data[:100].decode(errors="replace"))
    read_entries("/p", {f"/p/{key}": data for key in keys})


def read_request(data: bytes) -> None:
    web_answer(data, "/path", Protocol.PUSH)


def read_answer(data: bytes) -> None:
    check_answer(data, Protocol.PUSH, KEY)


def read_stream(data: bytes) -> None:
    """A stream in pieces; what waits is never more than one message."""
    framer = embedded.Framer(embedded.MAX_REQUEST)
    dice = random.Random(len(data))
    while data:
        piece, data = data[: (size := dice.randrange(1, 600))], data[size:]
        framer.feed(piece)


def read_watch(data: bytes) -> None:
    decode_answer(etcd.WATCH, data, "http://127.0.0.1:2379", "watching")


def read_range(data: bytes) -> None:
    decode_answer(etcd.RANGE, data, "http://127.0.0.1:2379", "reading")


def read_lease(data: bytes) -> None:
    decode_answer(etcd.KEEP_ALIVE, data, "http://127.0.0.1:2379", "holding")


PIPE_EDGES: Final = (
    Edge("message", MESSAGES, read_message, (WireError,), memory=600),
    Edge("control", CONTROL, any_of(WireError, decode_report, decode_reply), (WireError,)),
    Edge("registry", RECORDS, read_registry, memory=400),
    Edge(
        "greeting",
        GREETINGS,
        any_of(ValueError, read_request, read_answer),
        (ValueError,),
        memory=400,
    ),
    Edge(
        "embedded",
        ASKED,
        any_of(WireError, embedded.decode_request, embedded.decode_reply),
        (WireError,),
    ),
    Edge(
        "stream",
        (b"".join(len(one).to_bytes(4, "big") + one for one in ASKED),),
        read_stream,
        (WireError,),
    ),
    Edge(
        "etcd",
        WATCHED,
        any_of(RegistryError, read_watch, read_range, read_lease),
        (RegistryError,),
        memory=400,
    ),
)
