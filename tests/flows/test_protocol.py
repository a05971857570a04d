"""What client and server say to each other: round trips, garbage, versions."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph.flows.errors import FlowNameError, FlowProtocolError, FlowVersionError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import (
    MAX_CLIENT_NAME,
    MAX_ID,
    MAX_MESSAGE,
    VERSION,
    Attach,
    Bye,
    Challenge,
    ClientInfo,
    Connect,
    Done,
    End,
    Hello,
    Inconvertible,
    Launch,
    Leave,
    List,
    Lost,
    Message,
    Obsolete,
    Page,
    Ping,
    Provide,
    Refused,
    Run,
    Running,
    Signal,
    Subscribe,
    Unsubscribe,
    Welcome,
    Withdraw,
    decode_from_client,
    decode_from_server,
    encode,
)

KEY, PATTERN = FlowKey("group", "name"), FlowPattern("*", "name")
FORMAT = FlowFormat.parse("AUDIO,rate=48000,sample=s16")
LAUNCH = Launch(("program", "argument"), "name", movable=True)
CLIENT = ClientInfo("id", "a name", 7, LAUNCH)
HELLO = Hello(VERSION, "secret", b"nonce", b"proof", CLIENT)
CHALLENGE = Challenge(VERSION, "machine", "secret", b"nonce")

FROM_CLIENT: list[Message] = [
    HELLO,
    Provide(1, "f", KEY, FORMAT, 5, ProviderOptions(), True, "", ("a", "b"), ("c",), True),
    Withdraw(2, "f"),
    Subscribe(3, "s", PATTERN, FORMAT, ((KEY, "f"),), False),
    Unsubscribe(4, "s"),
    Signal(5, "s", True),
    List(6, False),
    Run(7, LAUNCH, "machine"),
    End(8, "id"),
    Ping(9),
    Lost("s", "f"),
    Bye(),
]
FROM_SERVER: list[Message] = [
    CHALLENGE,
    Welcome(b"proof"),
    Done(1, "id", 5),
    Refused(2, "FlowRefusedError", "why"),
    Page(3, b"data"),
    Attach("f", "a consumer"),
    Connect("s", "f", KEY, FORMAT),
    Running("f", False, ("a",), ("b",)),
    Obsolete("f", "g"),
    Inconvertible("s", "why"),
    Leave("why"),
]

NAMES = st.text("abcXYZ09._@:+-", min_size=1, max_size=64).map(lambda text: f"a{text}"[:64])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TAGS = [msgspec.msgpack.decode(encode(m))[0] for m in FROM_CLIENT + FROM_SERVER]


@pytest.mark.parametrize("message", FROM_CLIENT, ids=lambda m: type(m).__name__)
def test_server_reads_what_a_client_says(message: Message) -> None:
    assert decode_from_client(encode(message)) == message
    with pytest.raises(FlowProtocolError):
        decode_from_server(encode(message))


@pytest.mark.parametrize("message", FROM_SERVER, ids=lambda m: type(m).__name__)
def test_client_reads_what_a_server_says(message: Message) -> None:
    assert decode_from_server(encode(message)) == message
    with pytest.raises(FlowProtocolError):
        decode_from_client(encode(message))


@given(NAMES, NAMES, st.none() | st.booleans(), st.lists(NAMES, max_size=8))
def test_any_subscription_comes_through(
    group: str, name: str, signal: bool | None, flows: list[str]
) -> None:
    attached = tuple((FlowKey(group, name), flow) for flow in flows)
    message = Subscribe(1, "s", FlowPattern(group, name), None, attached, signal)
    assert decode_from_client(encode(message)) == message


@pytest.mark.parametrize("decode", [decode_from_client, decode_from_server])
@given(data=st.binary(max_size=200))
def test_garbage_is_an_error_of_the_protocol(decode: Any, data: bytes) -> None:
    with pytest.raises((FlowProtocolError, FlowVersionError)):
        decode(data)


@pytest.mark.parametrize("decode", [decode_from_client, decode_from_server])
@given(tag=st.sampled_from(TAGS), fields=st.lists(ANYTHING, max_size=12))
def test_wrong_fields_are_an_error_of_the_protocol(
    decode: Any, tag: str, fields: list[object]
) -> None:
    try:
        message = decode(msgspec.msgpack.encode([tag, *fields]))
    except (FlowProtocolError, FlowVersionError):
        return
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", FROM_CLIENT + FROM_SERVER, ids=lambda m: type(m).__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_damaged_message_is_read_or_an_error_of_the_protocol(
    message: Message, data: st.DataObject
) -> None:
    damaged = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for decode in (decode_from_client, decode_from_server):
        try:
            decode(bytes(damaged))
        except (FlowProtocolError, FlowVersionError):
            continue


def test_deeply_nested_garbage_is_an_error_of_the_protocol() -> None:
    with pytest.raises(FlowProtocolError):
        decode_from_client(b"\x91" * MAX_MESSAGE)


def test_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(FlowProtocolError, match="over 65536"):
        encode(Page(1, bytes(MAX_MESSAGE)))


@pytest.mark.parametrize("greeting", [HELLO, CHALLENGE])
def test_greeting_of_another_version_is_known_as_such_whatever_it_looks_like(
    greeting: Message,
) -> None:
    decode: Any = decode_from_client if isinstance(greeting, Hello) else decode_from_server
    kind, version, *rest = msgspec.msgpack.decode(encode(greeting))
    for fields in ([kind, version + 1], [kind, version + 1, *rest, {"new": 1}], [kind, 0, 7.5]):
        with pytest.raises(FlowVersionError, match="update the older of both"):
            decode(msgspec.msgpack.encode(fields))
    with pytest.raises(FlowProtocolError):
        decode(msgspec.msgpack.encode([kind, version, "something else"]))


@pytest.mark.parametrize("id", ["", "x" * (MAX_ID + 1), "a\nb", "é"])
def test_id_that_cannot_be_one_is_refused(id: str) -> None:
    with pytest.raises(FlowNameError):
        ClientInfo(id, "name", 1)
    fields = msgspec.msgpack.decode(encode(FROM_CLIENT[1]))
    fields[2] = id
    with pytest.raises(FlowProtocolError):
        decode_from_client(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("name", ["", "x" * (MAX_CLIENT_NAME + 1), "a\nb", "\x1b[2J"])
def test_client_name_that_would_spoil_a_log_is_refused(name: str) -> None:
    with pytest.raises(FlowNameError):
        ClientInfo("id", name, 1)


def test_error_about_garbage_is_short() -> None:
    fields = msgspec.msgpack.decode(encode(FROM_CLIENT[1]))
    fields[3] = {"group": "\0" * 60_000, "name": "n"}
    with pytest.raises(FlowProtocolError) as caught:
        decode_from_client(msgspec.msgpack.encode(fields))
    assert len(str(caught.value)) < 3000
