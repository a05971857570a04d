"""nanomsg's own program at the other end of a raw pipe: what it says is the plain SP protocol."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, PIPE

import pytest
import trio

from eventgraph import Event
from eventgraph.pipes import Binding, DestinationOptions, open_pipes, open_registry
from eventgraph.pipes.records import MemberRecord, encode_record, member_key, pipe_key
from tests.pipes.command_line import (
    LIMIT,
    CommandLine,
    end,
    finish,
    open_command_line,
    wait_for_line,
    wait_until,
)

pytestmark = pytest.mark.interop("nanomsg-utils")

PAYLOADS = [b"", b"one", b"\n\0\xff", bytes(range(256)), b"x" * 1_000_000]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with open_command_line() as commands:
        monkeypatch.setenv("EVENTGRAPH_REGISTRY", commands.registry)
        yield commands


@contextmanager
def nanocat(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["nanocat", *arguments], stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_url() -> str:
    """Where nobody listens. nanocat cannot say which port it got."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def unquoted(line: bytes) -> bytes:
    """A line of nanocat's ``--quoted``."""
    assert line[:1] + line[-1:] == b'""'
    return line[1:-1].decode("unicode_escape").encode("latin-1")


async def read_some(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout is not None
    stdout = process.stdout
    return [
        (await trio.to_thread.run_sync(stdout.readline, abandon_on_cancel=True)).rstrip(b"\n")
        for _ in range(count)
    ]


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_foreign_member_receives_plain_messages(shell: CommandLine, scheme: str) -> None:
    binding = Binding(scheme=scheme, host=str(shell.directory) if scheme == "ipc" else "127.0.0.1")
    with trio.fail_after(30):
        async with open_pipes(shell.registry, binding=binding) as pipes:
            lease = await pipes.registry.grant(5, lambda: None)
            key = member_key(pipes.prefix, "sound", "g", "foreigner")
            await lease.put(key, encode_record(MemberRecord("elsewhere", 1)))
            sound = await pipes.register("sound", DestinationOptions(raw=True))
            await sound.wait_for_group()
            url = sound.statistics().pipes[0].url
            with nanocat("--pull", "--connect", url, "--quoted") as foreigner:
                await sound.wait_for_members("g")
                for payload in PAYLOADS:
                    assert sound.deliver(Event(0, payload)) == 1
                await sound.unregister()
                lines = await read_some(foreigner, len(PAYLOADS))
            assert [unquoted(line) for line in lines] == PAYLOADS
            counts = sound.statistics().ended[0].counts
            assert (counts.received, counts.lost, counts.dropped) == (len(PAYLOADS), 0, {})
            await lease.revoke()


async def test_foreign_member_shares_the_events_with_one_of_ours(shell: CommandLine) -> None:
    count = 1000
    with trio.fail_after(30):
        async with open_pipes(shell.registry) as pipes:
            member = await pipes.join("sound", "g")
            lease = await pipes.registry.grant(5, lambda: None)
            key = member_key(pipes.prefix, "sound", "g", "foreigner")
            await lease.put(key, encode_record(MemberRecord("elsewhere", 1)))
            sound = await pipes.register("sound", DestinationOptions(raw=True))
            await sound.wait_for_group()
            url = sound.statistics().pipes[0].url
            with nanocat("--pull", "--connect", url, "--ascii") as foreigner:
                await sound.wait_for_members("g", 2)
                for number in range(count):
                    assert await sound.deliver_within(Event(0, b"%d" % number), 5) == 1
                await sound.wait_drained()
                ours = [(await anext(member)).obj for _ in range(count // 2)]
                theirs = await read_some(foreigner, count - len(ours))
            assert sorted([*ours, *theirs], key=int) == [b"%d" % n for n in range(count)]
            await lease.revoke()


@pytest.mark.parametrize("payload", [b"one", b"\xff\n\0", b"x" * 1_000_000])
async def test_foreign_sender_reaches_a_group(shell: CommandLine, payload: bytes) -> None:
    url = free_url()
    path = shell.directory / "payload"
    path.write_bytes(payload)
    with trio.fail_after(30):
        async with (
            open_registry(shell.registry) as registry,
            open_pipes(shell.registry) as pipes,
        ):
            member = await pipes.join("noise", "g")
            lease = await registry.grant(5, lambda: None)
            value = b'{"url": "%s", "raw": true}' % url.encode()  # as by hand
            await lease.put(pipe_key(pipes.prefix, "noise", "g"), value)
            # Without an interval nanocat ends at once, and what it sent may be lost with it.
            with nanocat("--push", "--bind", url, "--file", str(path), "--interval", "0.1"):
                assert [await anext(member) for _ in range(3)] == [Event(0, payload)] * 3
            assert member.statistics().counts.dropped == {}
            await lease.revoke()


def test_member_is_announced_for_a_foreign_program(shell: CommandLine) -> None:
    lines = b"".join(b"%d\n" % number for number in range(10_000))
    announcement = shell.start("announce-member", "sound", "g")
    sender = shell.start("send", "sound", "--raw", "--wait", "g", stdin=PIPE)
    url = wait_for_line(announcement.stdout, "tcp://").strip()
    path = shell.directory / "output"
    with path.open("wb") as output:
        foreigner = subprocess.Popen(
            ["nanocat", "--pull", "--connect", url, "--ascii"], stdin=DEVNULL, stdout=output
        )
    try:
        said = sender.communicate(lines, LIMIT)[1]
        assert said == b"sent 10,000 events to sound; g received 10,000\n"
        wait_until(lambda: path.stat().st_size == len(lines))
    finally:
        foreigner.kill()
        foreigner.wait()
    assert path.read_bytes() == lines
    assert end(announcement)[::2] == (143, "")
    assert shell.entries() == {}


def test_sender_is_announced_for_a_foreign_program(shell: CommandLine) -> None:
    url = free_url()
    announcement = shell.start("announce-sender", "noise", "g", url)
    member = shell.start("recv", "noise", "g", "--count", "3", "--format", "text")
    with nanocat("--push", "--bind", url, "--data", "hello", "--interval", "0.1"):
        assert finish(member) == (0, b"hello\nhello\nhello\n", "")
    assert end(announcement)[::2] == (143, "")
    assert shell.entries() == {}
