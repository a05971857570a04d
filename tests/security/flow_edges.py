"""What comes over flows: from clients, servers of other machines, registries and shared memory."""

import os
import socket
from typing import Final

import trio

from eventgraph import Address, Event, FollowedEvent, TraceContext
from eventgraph.flows.audience import Audience
from eventgraph.flows.authentication.interface import NONCE_SIZE, Nonces, Side
from eventgraph.flows.authentication.sealing import Sealer
from eventgraph.flows.authentication.secret import SharedSecret
from eventgraph.flows.authentication.trust import TrustEverybody
from eventgraph.flows.block import Block
from eventgraph.flows.block_wire import DONE, HISTORY, INLINE, LEAVE, RELEASE, SLOT, pack
from eventgraph.flows.errors import AuthenticationError, FlowProtocolError, FlowVersionError
from eventgraph.flows.event_wire import EventPacker, EventUnpacker
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.history import History
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import Listing, MachineListing, decode_listing, encode_listing
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import decode_from_client, decode_from_server, encode
from eventgraph.flows.ring import Ring, RingView
from eventgraph.flows.server.peer_protocol import (
    Demand,
    EndPeer,
    LookPeer,
    PeerMessage,
    RunPeer,
    Seen,
    Started,
    Supply,
    decode_answer,
    decode_question,
    encode_peer,
)
from eventgraph.flows.server.records import (
    ClaimRecord,
    ServerRecord,
    encode_record,
    read_claims,
    read_servers,
)
from eventgraph.flows.slots import SlotTable
from eventgraph.flows.source import Source
from eventgraph.flows.worker.report import Report, decode_report, encode_report
from eventgraph.pipes.errors import WireError
from tests.flows.test_desk import SECRET, WANT, Caller
from tests.flows.test_protocol import FROM_CLIENT, FROM_SERVER, LAUNCH

from .edge import Edge, any_of

FORMAT: Final = FlowFormat.parse("AUDIO,rate=48000,sample=s16")
KEY: Final = FlowKey("group", "name")
QUESTIONS: Final[tuple[PeerMessage, ...]] = (
    Demand(5, (WANT,)),
    LookPeer(),
    RunPeer("token", LAUNCH),
    EndPeer("client"),
    Supply(1, 2, ()),
    Seen(MachineListing("here")),
    Started("id"),
)
RECORDS: Final = (
    encode_record(ServerRecord("id", "machine", "tcp://127.0.0.1:5000", 1)),
    encode_record(ClaimRecord("flow", "server", "machine", 7, FORMAT, ProviderOptions())),
)
FOLLOWED: Final = FollowedEvent(
    3, b"payload", Address("s", "n"), trace=TraceContext(f"00-{'1' * 32}-{'2' * 16}-01", 4)
)
_packer = EventPacker()
BLOCKS: Final = tuple(
    packed.head + bytes(packed.data)
    for packed in (
        _packer(Event(5, b"payload", Address("scope", "name"))),
        _packer(Event(5, {"a": [1, None]}, Address("scope", "name"))),
        _packer(Event(-1, b"")),
        _packer(FOLLOWED),
    )
)
ANNOUNCED: Final = (
    pack(INLINE, 1, 0, 7, 0, 1, 2) + b"payload" + pack(SLOT, 0, 1, 100, 0, 2, 3),
    pack(SLOT, 0, 0, 8192, 5, 2, 3) + pack(DONE, 0, 0, 0, 5, 0, 0),
)
ANSWERED: Final = (
    pack(RELEASE, 0, 1, 0, 0, 0, 0) * 3,
    pack(HISTORY, 0, 0, 64, 9, -(2**63), 2**63 - 1),
    pack(LEAVE, 0, 0, 0, 0, 0, 0),
)
NONCES: Final = Nonces(b"c" * NONCE_SIZE, b"s" * NONCE_SIZE)
SECRETLY: Final = SharedSecret(b"0123456789abcdef")
SEALER: Final = Sealer(b"k" * 32, b"fuzz")

_trusting, _sealed = Caller(TrustEverybody()), Caller(SECRET)
_trusting.prove()
_sealed.prove()
ENVELOPES: Final = tuple(
    encode_peer(caller.envelope(question))
    for caller in (_trusting, _sealed)
    for question in QUESTIONS[:4:3]
)


def read_client(data: bytes) -> None:
    encode(decode_from_client(data))


def read_server(data: bytes) -> None:
    encode(decode_from_server(data))


def read_desk(data: bytes) -> None:
    """From who has proved itself, and could know better; to any bytes there is an answer."""
    for caller in (_trusting, _sealed):
        assert caller.desk.answer(data)
        caller.office.supplied.clear()


def read_registry(data: bytes) -> None:
    """One value under keys of each kind; and a key out of it."""
    name = data[:100].decode(errors="replace")
    keys = [
        "servers/machine/id",
        "claims/group/name/0000000001",
        f"claims/{name}",
        f"servers/{name}",
    ]
    keys.append(f"claims/group/name/{name}")
    entries = {f"/base/{key}": data for key in keys}
    read_servers("/base", entries)
    read_claims("/base", entries)


_UNPACKERS: Final = (
    EventUnpacker(),
    EventUnpacker(dict[str, int]),
    EventUnpacker(memoryview),
    EventUnpacker(max_elements=5),
)


def read_event(data: bytes) -> None:
    for unpack in _UNPACKERS:
        try:
            unpack(Block(KEY, FORMAT, 1, 2, memoryview(data), None))
        except WireError:
            continue


def read_provider(data: bytes) -> None:
    """A consumer hears a provider out."""
    ring = Ring("fuzz", 2, 8192)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    source = Source("flow", KEY, FORMAT, ours, RingView(os.dup(ring.fd)))
    try:
        theirs.send(data[:60_000] or b"\0")
        for block in source.read()[0]:
            assert len(block.data) <= 8192 + len(data)
    finally:
        source.close()
        theirs.close()
        ring.close()


def read_consumer(data: bytes) -> None:
    """A provider hears a consumer out, or cuts it off."""
    trio.run(_hear, data)


async def _hear(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    audience = Audience(SlotTable(2), History(8, lambda _record: True), 16)
    try:
        audience.attach("consumer", ours)
        theirs.send(data[:60_000] or b"\0")
        audience.look()
    finally:
        audience.close()
        theirs.close()


def read_listing(data: bytes) -> None:
    decode_listing(data)


def read_proof(data: bytes) -> None:
    SECRETLY.verify(Side.CLIENT, NONCES, data)


def read_sealed(data: bytes) -> None:
    SEALER.unseal(data, b"context")


FLOW_EDGES: Final = (
    Edge(
        "client",
        tuple(map(encode, FROM_CLIENT)),
        read_client,
        (FlowProtocolError, FlowVersionError),
    ),
    Edge(
        "server",
        tuple(map(encode, FROM_SERVER)),
        read_server,
        (FlowProtocolError, FlowVersionError),
    ),
    Edge(
        "peer",
        tuple(map(encode_peer, QUESTIONS)),
        any_of(FlowProtocolError, decode_question, decode_answer),
        (FlowProtocolError,),
    ),
    Edge("desk", ENVELOPES, read_desk, memory=400),
    Edge("claims", RECORDS, read_registry, memory=400),
    Edge("event", BLOCKS, read_event, memory=600),
    Edge("provider", ANNOUNCED, read_provider, (FlowProtocolError,)),
    Edge("consumer", ANSWERED, read_consumer),
    Edge(
        "listing",
        (encode_listing(Listing("app", "user", (MachineListing("here"),))),),
        read_listing,
        (FlowProtocolError,),
    ),
    Edge(
        "report",
        (encode_report(Report("error", "traceback")),),
        decode_report,
        (FlowProtocolError,),
    ),
    Edge("proof", (SECRETLY.prove(Side.CLIENT, NONCES),), read_proof, (AuthenticationError,)),
    Edge("sealed", (bytes(SEALER.seal(b"data", b"context")),), read_sealed, (AuthenticationError,)),
)
