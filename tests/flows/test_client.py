"""A client in this process; its server in one of its own, or something that only looks like one."""

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from eventgraph.background import open_background
from eventgraph.flows import (
    FlowClient,
    FlowClosedError,
    FlowFormat,
    FlowKey,
    FlowOptionError,
    FlowRefusedError,
    FlowServerError,
    FlowVersionError,
    Launch,
    open_flows,
    served,
)
from eventgraph.flows.authentication.opening import open_authentication
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.client import open_client
from eventgraph.flows.protocol import (
    VERSION,
    Attach,
    Challenge,
    Connect,
    FromClient,
    Hello,
    Refused,
    Welcome,
    decode_from_client,
    encode,
)
from tests.flows.client_process import rings
from tests.flows.command_line import open_flow_command_line
from tests.flows.processes import open_realm, until
from tests.pipes.command_line import wait_for_line

CHALLENGE = Challenge(VERSION, "machine", "trust", bytes(32))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Impostor:
    """The way to something that is no server of ours: each connection is handled by a script."""

    def __init__(self, script: Callable[[socket.socket], Awaitable[None]]) -> None:
        self.script = script
        self.connections = self.replaced = 0
        self.nursery: trio.Nursery

    async def connect(self) -> socket.socket:
        await trio.lowlevel.checkpoint()
        self.connections += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.nursery.start_soon(self._handle, ours)
        return theirs

    async def _handle(self, sock: socket.socket) -> None:
        with sock:
            await self.script(sock)

    async def replace(self) -> None:
        await trio.lowlevel.checkpoint()
        self.replaced += 1


@asynccontextmanager
async def deceived(
    script: Callable[[socket.socket], Awaitable[None]], keepalive: float = 0.3
) -> AsyncIterator[tuple[FlowClient, Impostor]]:
    """A client that has come to an impostor. No descriptor is left at the end."""
    before = descriptors()
    impostor = Impostor(script)
    authentication = open_authentication(AuthenticationOptions())
    async with open_background() as impostor.nursery:
        client = FlowClient(impostor, authentication, name="client", keepalive=keepalive)
        async with open_client(client):
            yield client, impostor
    assert descriptors() == before


async def hear(sock: socket.socket) -> FromClient:
    await trio.lowlevel.wait_readable(sock)
    return decode_from_client(sock.recv(1 << 17))


async def greet(sock: socket.socket) -> None:
    sock.send(encode(CHALLENGE))
    assert isinstance(await hear(sock), Hello)
    sock.send(encode(Welcome(b"")))


# Versions


async def test_client_of_another_version_is_told_so_and_the_server_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_realm(tmp_path) as realm:
        await realm.start("client")
        monkeypatch.setattr(served, "VERSION", VERSION + 1)
        with pytest.raises(
            FlowVersionError, match=rf"version {VERSION}, this client {VERSION + 1}"
        ):
            async with open_flows(realm.options, name="newer"):
                pytest.fail("it is open")

        async def is_logged() -> bool:
            await trio.lowlevel.checkpoint()
            return f"this client speaks version {VERSION + 1}, the server {VERSION}" in realm.log()

        await until(is_logged)
        (machine,) = (await realm.clients[0].ask("look"))["machines"]
        assert [client["name"] for client in machine["clients"]] == ["client"]


async def test_server_of_another_version_is_known_as_such_whatever_it_says() -> None:
    async def newer(sock: socket.socket) -> None:
        sock.send(msgspec.msgpack.encode(["challenge", VERSION + 1, {"quite": "different"}]))
        await trio.sleep_forever()

    with pytest.raises(FlowVersionError, match="update the older of both"):
        async with deceived(newer):
            pytest.fail("it is open")


async def test_client_that_is_refused_as_of_another_version_says_so() -> None:
    async def older(sock: socket.socket) -> None:
        sock.send(encode(CHALLENGE))
        await hear(sock)
        sock.send(encode(Refused(0, "FlowVersionError", "too new")))
        await trio.sleep_forever()

    with pytest.raises(FlowVersionError, match="too new"):
        async with deceived(older):
            pytest.fail("it is open")


# Servers that misbehave


@pytest.mark.parametrize(
    "said",
    [b"\xc1", bytes(1 << 16), bytes((1 << 16) + 1), encode(CHALLENGE), encode(Welcome(b""))],
    ids=["garbage", "zeros", "too long", "second challenge", "second welcome"],
)
async def test_server_that_says_what_makes_no_sense_is_left(said: bytes) -> None:
    async def hostile(sock: socket.socket) -> None:
        await greet(sock)
        socket.send_fds(sock, [said], [sock.fileno()])
        await trio.sleep_forever()

    async with deceived(hostile) as (_, impostor):
        with trio.fail_after(20):
            while impostor.connections < 3:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.01)


async def test_server_that_hangs_is_replaced_and_requests_wait_for_the_next() -> None:
    async def silent(sock: socket.socket) -> None:
        await greet(sock)
        await trio.sleep_forever()

    async with deceived(silent, keepalive=0.1) as (client, impostor):
        with trio.move_on_after(0.05):
            await client.provide("g/n")
            pytest.fail("nobody has answered")
        with trio.fail_after(20):
            while impostor.replaced < 2:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.01)
    assert rings("self") == 0


async def test_connections_for_what_nobody_asked_for_are_closed() -> None:
    async def hostile(sock: socket.socket) -> None:
        await greet(sock)
        for message in (
            Attach("nothing", "somebody"),
            Connect("nothing", "f", FlowKey("g", "n"), FlowFormat()),
        ):
            socket.send_fds(sock, [encode(message)], [sock.fileno()] * 2)
        await trio.sleep_forever()

    async with deceived(hostile, keepalive=10.0) as (client, impostor):
        before = descriptors()
        await trio.sleep(0.2)
        assert descriptors() == before
        assert impostor.connections == 1
        assert not client.leaving.is_set()


# Options that the server does not have


async def test_registry_that_the_server_does_not_have_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = ["", "embedded:/x", "embedded:/x", "etcd://host:2379", "embedded:/x"]

    async def come_and_go(sock: socket.socket) -> None:
        sock.send(encode(CHALLENGE))
        await hear(sock)
        with suppress(BrokenPipeError):  # at the end it may be gone
            sock.send(encode(Welcome(b"", said[min(impostor.connections, len(said)) - 1])))

    impostor = Impostor(come_and_go)
    authentication = open_authentication(AuthenticationOptions())
    async with open_background() as impostor.nursery:
        client = FlowClient(impostor, authentication, name="me", registry="etcd://host:2379")
        async with open_client(client):
            with trio.fail_after(20):
                while impostor.connections < 7:  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.01)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    end = ", not etcd://host:2379: other machines are found there; end it to have another"
    assert warnings == [
        f"me: the server that runs has {registry}{end}"
        for registry in ("no registry", "the registry embedded:/x", "the registry embedded:/x")
    ]


@pytest.mark.parametrize(
    ("given", "warnings"), [("embedded:", 0), ("etcd://me:secret@host:2379", 1)]
)
async def test_registry_is_compared_with_that_of_the_server_if_one_was_given(
    given: str, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_realm(tmp_path) as realm:
        await realm.start("starter")
        options = msgspec.structs.replace(realm.options, registry=given)
        async with open_flows(options, name="me", start=False) as client:
            await client.look()
    assert caplog.text.count("the server that runs has") == warnings
    assert "secret" not in caplog.text


def test_registry_that_a_command_is_given_in_vain_is_one_line_on_standard_error() -> None:
    with open_flow_command_line() as shell:
        wait_for_line(shell.start("serve").stdout, "serving tests of me")
        done = shell.run("ls", "--registry", "etcd://me:secret@host:2379")
        (line,) = done.stderr.decode().splitlines()
        there = shell.environment["EVENTGRAPH_REGISTRY"]
        assert line.startswith("WARNING: ")
        assert f"the registry {there}, not etcd://host:2379: " in line


@pytest.mark.parametrize("command", ["ls", b"ls", None, (Path("ls"),)], ids=repr)
def test_command_that_is_none_is_refused_at_once(command: Any) -> None:
    with pytest.raises(FlowOptionError, match="is no command; one looks like"):
        Launch(command, "l")


# Its life


async def test_client_that_is_taken_over_is_told_by_whom(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm, open_flows(realm.options, name="old") as old:
        provider = await old.provide("g/n")
        async with open_flows(realm.options, name="new") as new:
            await new.provide("g/n")
            with trio.fail_after(20):
                while provider.error is None:  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.01)
            assert str(provider.error) == "g/n: client new has taken over; end"
        assert "g/n: client new takes over from client old" in realm.log()


async def test_requests_wait_while_the_server_is_replaced(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm, open_flows(realm.options, name="client") as client:
        for number in range(3):
            os.kill(realm.server(), signal.SIGKILL)
            consumer = await client.consume(f"g/{number}")
            os.kill(realm.server(), signal.SIGKILL)
            provider = await client.provide(f"g/{number}")
            await provider.send(b"data")
            with trio.fail_after(20):
                while not consumer.sources:  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.01)
                await provider.send(b"more")
                with await consumer.receive() as block:
                    assert bytes(block.data) in {b"data", b"more"}
        listing = await client.look()
        assert len(listing.machines[0].flows) == 3


async def test_request_that_must_not_be_made_twice_fails_when_the_server_is_lost(
    tmp_path: Path,
) -> None:
    async with open_realm(tmp_path) as realm, open_flows(realm.options, name="client") as client:
        os.kill(realm.server(), signal.SIGSTOP)
        with pytest.raises(FlowServerError, match="look what there is"):
            await client.run(Launch(("true",), "program"))
        await client.look()  # else what was killed would leave its files


async def test_end_of_an_unknown_client_is_refused(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm, open_flows(realm.options, name="client") as client:
        with pytest.raises(FlowRefusedError, match="no client"):
            await client.end("nobody")


async def test_client_that_is_to_end_is_told_and_its_ends_are_closed(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm, open_flows(realm.options, name="ended") as client:
        provider = await client.provide("g/n")
        consumer = await client.consume("g/n")
        async with open_flows(realm.options, name="other") as other:
            await other.end(client.id)
            with trio.fail_after(20):
                await client.leaving.wait()
        for end in (provider, consumer):
            assert isinstance(end.error, FlowClosedError)
            assert "is to end" in str(end.error)


async def test_nothing_is_left_of_a_client(tmp_path: Path) -> None:
    before = descriptors()
    async with open_realm(tmp_path) as realm:
        for _ in range(3):
            async with open_flows(realm.options, name="client") as client:
                provider = await client.provide("g/n")
                consumer = await client.consume("g/n")
                await provider.send(bytes(100_000))
                os.kill(realm.server(), signal.SIGKILL)
                await client.look()
                assert consumer.error is None
    assert descriptors() == before
    assert rings("self") == 0
