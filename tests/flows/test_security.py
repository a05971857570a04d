"""Who is kept out, what is bounded, and what a hostile client of the same user can do."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trustme

from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.block_wire import MAX_INLINE
from eventgraph.flows.protocol import (
    VERSION,
    Challenge,
    ClientInfo,
    End,
    FromServer,
    Hello,
    List,
    Lost,
    Message,
    Ping,
    Refused,
    Welcome,
    decode_from_server,
    encode,
)
from tests.flows.certificate_support import by_trustme
from tests.flows.client_process import rings
from tests.flows.processes import Process, ProcessFailedError, Realm, goes_on, open_realm, until

PROBE = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
    sock.connect(sys.argv[1])
"""


def secret(directory: Path, content: str) -> AuthenticationOptions:
    path = directory / f"secret-{content[:4]}"
    path.touch(0o600)
    path.write_text(content)
    return AuthenticationOptions("secret", path)


def certificate(directory: Path, name: str, ca: trustme.CA) -> AuthenticationOptions:
    leaf = ca.issue_cert(common_name=name)
    return AuthenticationOptions("certificates", tls=by_trustme(directory / name, ca, leaf))


@contextmanager
def stranger(realm: Realm) -> Iterator[socket.socket]:
    """A bare connection."""
    sock = realm.directory.connect()
    assert sock is not None
    with sock:
        yield sock


async def hear(sock: socket.socket) -> FromServer | None:
    """What the server says next; None: it has closed the connection."""
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(sock)
    try:
        data = sock.recv(1 << 17)
    except ConnectionResetError:
        return None
    return decode_from_server(data) if data else None


async def greeted(sock: socket.socket, id: str, name: str = "hostile") -> FromServer | None:
    """Be a client of a server that trusts everybody."""
    assert isinstance(await hear(sock), Challenge)
    sock.send(encode(Hello(VERSION, "trust", bytes(32), b"", ClientInfo(id, name, 1))))
    return await hear(sock)


async def logged(realm: Realm, text: str) -> None:
    async def is_logged() -> bool:
        await trio.lowlevel.checkpoint()
        return text in realm.log()

    await until(is_logged)


def told(realm: Realm, *clients: Process) -> str:
    """All that others could read: what was written, and what processes were started with."""
    said = [realm.log(), *(path.read_text() for path in realm.base.glob("*.log"))]
    pids = (realm.server(), *(client.pid for client in clients))
    said += [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    return "".join(said)


# Authentication


@pytest.mark.parametrize("method", ["secret", "certificates"])
async def test_who_cannot_prove_itself_gets_nothing_and_is_logged(
    tmp_path: Path, method: str
) -> None:
    right, wrong = "right-0123456789abcdef", "wrong-0123456789abcdef"
    if method == "secret":
        ours, theirs = secret(tmp_path, right), secret(tmp_path, wrong)
    else:
        ours = certificate(tmp_path, "ours", trustme.CA())
        theirs = certificate(tmp_path, "theirs", trustme.CA())
    async with open_realm(tmp_path, authentication=ours) as realm:
        provider, consumer = await realm.start("provider"), await realm.start("consumer")
        await provider.ask("provide", "g/n", {"slow_consumer": "block"})
        await consumer.ask("consume", "g/n")
        for options in (theirs, AuthenticationOptions()):
            with pytest.raises(ProcessFailedError, match="AuthenticationError"):
                await realm.start("hostile", authentication=options)
        await logged(realm, "a client was refused: ")
        with stranger(realm) as sock:
            assert isinstance(await hear(sock), Challenge)
            sock.send(encode(List(1)))
            assert isinstance(answer := await hear(sock), Refused)
            assert "g/n" not in answer.reason
            assert await hear(sock) is None
        await goes_on(consumer, "g/n")
        listing = (await consumer.ask("look"))["machines"][0]
        assert {client["name"] for client in listing["clients"]} == {"provider", "consumer"}
        said = told(realm, provider, consumer)
        assert "PRIVATE KEY" not in said
        assert right not in said
        assert wrong not in said


async def test_client_does_not_believe_a_server_that_cannot_prove_itself(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:  # trusts everybody
        await realm.start("client")
        mine = secret(tmp_path, "right-0123456789abcdef")
        with pytest.raises(ProcessFailedError, match="AuthenticationError"):
            await realm.start("careful", authentication=mine)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that every user can enter, as the system's temporary directory."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_system_user_cannot_reach_the_socket(open_directory: Path) -> None:
    async with open_realm(open_directory) as realm:
        await realm.start("client")
        path = realm.directory.path / "socket"
        become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        # an interpreter that others may run
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        for opened in (False, True):
            # the directories keep others out, and the socket does so by itself
            if opened:
                for parent in (path.parent, path.parent.parent):
                    parent.chmod(0o755)
            done = await trio.run_process(
                [*become, python, "-c", PROBE, str(path)],
                check=False,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
            )
            assert b"PermissionError" in done.stderr, done.stderr
        for parent in (path.parent, path.parent.parent):
            parent.chmod(0o700)


# Bounds


async def test_ring_over_the_memory_limit_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async with open_realm(tmp_path, memory_limit=3 << 20) as realm:
        client = await realm.start("client")
        two = {"slots": 2, "max_block": 1 << 20}
        await client.ask("provide", "g/first", two)
        with pytest.raises(ProcessFailedError, match=r"FlowRefusedError: .* 2,097,152"):
            await client.ask("provide", "g/second", two)
        assert await client.ask("rings") == 1

        async def has_one() -> bool:  # it answers first, and closes then
            return rings(realm.server()) == 1

        await until(has_one)
        listing = (await client.ask("look"))["machines"][0]
        assert (listing["memory"], listing["memory_limit"]) == (2 << 20, 3 << 20)
        await client.ask("close", "g/first")
        await client.ask("provide", "g/second", two)


async def test_client_too_many_is_told_so_and_one_that_comes_back_is_not_one(
    tmp_path: Path,
) -> None:
    async with open_realm(tmp_path, max_clients=2) as realm:
        first, second = await realm.start("first"), await realm.start("second")
        with pytest.raises(ProcessFailedError, match="FlowRefusedError: there are 2 clients"):
            await realm.start("third")
        os.kill(realm.server(), 9)
        for client in (first, second):
            await client.ask("look")
        await second.end()

        async def left() -> bool:
            return len((await first.ask("look"))["machines"][0]["clients"]) == 1

        await until(left)
        await realm.start("third")


async def undisturbed(realm: Realm) -> None:
    """Those who behave notice nothing of those who do not."""
    (consumer,) = (c for c in realm.clients if c.log.name.startswith("good-consumer"))
    await goes_on(consumer, "g/n")
    state = await consumer.ask("taken", "g/n")
    assert (state["missed"], state["disordered"], state["takeovers"]) == (0, 0, 0)
    (machine,) = (await consumer.ask("look"))["machines"]
    assert "Traceback" not in realm.log()
    names = {client["name"] for client in machine["clients"]}
    assert names >= {"good-provider", "good-consumer"}


async def behaving(realm: Realm) -> int:
    """A provider and a consumer; the server's process."""
    provider = await realm.start("good-provider")
    consumer = await realm.start("good-consumer")
    await provider.ask("provide", "g/n", {"slow_consumer": "block"})
    await consumer.ask("consume", "g/n")
    await goes_on(consumer, "g/n")
    return realm.server()


GARBAGE = {
    "bytes": b"\xc1\xff\x00garbage",
    "nothing": b"\x90",
    "too long": bytes((64 << 10) + 1),
    "a huge name": encode(Ping(1)).replace(b"ping", b"provide") + b"\0" * 60_000,
    "an answer": encode(Welcome(b"")),
    "a tag": b"\x91\xa4ping",
    "another version": b"\x92\xa5hello\x07",
}


@pytest.mark.parametrize("greets", [False, True])
async def test_client_that_sends_garbage_is_cut_off_and_others_notice_nothing(
    tmp_path: Path, greets: bool
) -> None:
    async with open_realm(tmp_path) as realm:
        server = await behaving(realm)
        for number, garbage in enumerate(GARBAGE.values()):
            with stranger(realm) as sock:
                if greets:
                    assert isinstance(await greeted(sock, f"hostile-{number}"), Welcome)
                else:
                    assert isinstance(await hear(sock), Challenge)
                sock.send(garbage)
                while await hear(sock) is not None:
                    pass
        assert realm.server() == server
        await undisturbed(realm)
        await logged(realm, "is cut off: " if greets else "was refused: ")


async def test_descriptors_that_nobody_asked_for_are_closed(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        server = await behaving(realm)
        with stranger(realm) as sock, tempfile.TemporaryFile() as file:
            assert isinstance(await greeted(sock, "hostile"), Welcome)
            await trio.sleep(0.1)
            before = len(os.listdir(f"/proc/{server}/fd"))
            for number in range(1, 101):
                socket.send_fds(sock, [encode(Ping(number))], [file.fileno()] * 2)
                await hear(sock)
            assert len(os.listdir(f"/proc/{server}/fd")) <= before
            socket.send_fds(sock, [encode(Ping(1))], [file.fileno()] * 200)
            assert await hear(sock) is None
        await undisturbed(realm)


async def flood(sock: socket.socket, message: Message, seconds: float) -> int:
    """Say something again and again without reading an answer: how often."""
    data = encode(message)
    count = 0
    with trio.move_on_after(seconds):
        while True:
            try:
                for _ in range(100):
                    sock.send(data)
                    count += 1
            except BlockingIOError:
                await trio.sleep(0.001)
            except OSError:  # cut off
                return count
            await trio.lowlevel.checkpoint()
    return count


def memory_of(pid: int) -> int:
    """Bytes that a process has of its own, more or less."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "message",
    [Ping(1), List(1), End(1, "nobody"), Lost("nothing", "nothing"), Ping(0)],
    ids=lambda message: type(message).__name__,
)
async def test_flood_of_requests_is_bounded(tmp_path: Path, message: Message) -> None:
    async with open_realm(tmp_path, keepalive=5.0) as realm:
        server = await behaving(realm)
        before = memory_of(server)
        with stranger(realm) as sock:
            assert isinstance(await greeted(sock, "hostile"), Welcome)
            assert await flood(sock, message, 1.0) > 100
            assert memory_of(server) - before < 64 << 20
            await undisturbed(realm)
        assert realm.server() == server


async def test_connections_that_never_greet_keep_nobody_out(tmp_path: Path) -> None:
    async with open_realm(tmp_path, keepalive=5.0) as realm:
        server = await behaving(realm)
        silent: list[socket.socket] = []
        try:
            for _ in range(300):
                try:
                    sock = realm.directory.connect()
                except BlockingIOError:
                    await trio.sleep(0.01)
                    continue
                assert sock is not None
                silent.append(sock)
            late = await realm.start("late")
            await late.ask("consume", "g/n")
            await goes_on(late, "g/n")
            assert len(os.listdir(f"/proc/{server}/fd")) < 200
        finally:
            for sock in silent:
                sock.close()
        await undisturbed(realm)
        assert realm.server() == server


async def test_block_that_travels_in_its_announcement_is_no_larger_than_that_allows(
    tmp_path: Path,
) -> None:
    async with open_realm(tmp_path) as realm:
        client = await realm.start("client")
        with pytest.raises(ProcessFailedError, match="FlowOptionError"):
            await client.ask("provide", "g/n", {"inline": MAX_INLINE + 1})
