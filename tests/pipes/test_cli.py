"""``eventgraph pipes``: what stands between two shells, mistakes above all."""

import base64
import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from subprocess import PIPE

import msgspec
import pytest

from eventgraph.pipes import DestinationEntry, GroupEntry
from eventgraph.pipes.records import MemberRecord
from rtp.cli import main
from tests.pipes.command_line import (
    LIMIT,
    CommandLine,
    end,
    finish,
    open_command_line,
    wait_for_line,
    wait_until,
)

NUMBERS = [str(number) for number in range(10_000)]
LINES = "".join(f"{number}\n" for number in NUMBERS).encode()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with open_command_line() as commands:
        monkeypatch.setenv("EVENTGRAPH_REGISTRY", commands.registry)
        yield commands


def members(shell: CommandLine, name: str, group: str) -> dict[str, MemberRecord]:
    entry = shell.entries().get(name, DestinationEntry())
    return entry.groups.get(group, GroupEntry()).members


def assert_one_line(errors: str | bytes, *parts: str) -> None:
    text = errors if isinstance(errors, str) else errors.decode()
    assert text.startswith("eventgraph: "), text
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    for part in parts:
        assert part in text


def test_every_group_gets_every_line_in_order(shell: CommandLine) -> None:
    groups = [shell.print("recv", "numbers", g, "--count", "10000") for g in ("left", "right")]
    sent = shell.run("send", "numbers", "--wait", "left", "--wait", "right", stdin=LINES)
    for member in groups:
        assert finish(member)[::2] == (0, "")
        assert [json.loads(line) for line in shell.printed(member).splitlines()] == [
            {"cmd": 0, "obj": int(number)} for number in NUMBERS
        ]
    assert sent.returncode == 0
    assert sent.stderr.decode() == (
        "sent 10,000 events to numbers; left received 10,000; right received 10,000\n"
    )


def test_members_share_the_lines_of_a_file(shell: CommandLine) -> None:
    members = [shell.print("recv", "numbers", "g", "--format", "text") for _ in range(3)]
    path = shell.directory / "lines"
    path.write_bytes(LINES)
    with path.open("rb") as file:
        sent = shell.start("send", "numbers", "--wait", "g:3", "--format", "text", stdin=file)
        assert finish(sent) == (0, b"", "sent 10,000 events to numbers; g received 10,000\n")
    assert [end(member)[0] for member in members] == [143, 143, 143]
    outputs = [shell.printed(member).decode().split() for member in members]
    assert all(output == sorted(output, key=int) for output in outputs)
    assert sorted(chain(*outputs), key=int) == NUMBERS
    assert all(outputs)


def test_lines_come_out_as_they_went_in(shell: CommandLine) -> None:
    lines = [
        {"cmd": 7, "obj": {"größe": [1, 2.5, None, True, "日本 \u2028 🍺"]}},
        {"cmd": -1, "obj": "", "reply_to": {"scope": "demo", "name": "tone"}},
        {"cmd": 0, "base64": base64.b64encode(bytes(range(256))).decode()},
        {"cmd": 2**40, "obj": None},
    ]
    member = shell.start("recv", "x", "g", "--count", "4")
    text = "\n\n".join(json.dumps(line) for line in lines)  # the last without a newline
    assert shell.run("send", "x", stdin=text.encode()).returncode == 0
    assert [json.loads(line) for line in finish(member)[1].splitlines()] == lines


def test_any_bytes_pass_as_lines_of_bytes(shell: CommandLine) -> None:
    data = bytes(range(256)) * 300 + b"\n\n\r\n\0\n"
    member = shell.print("recv", "x", "g", "--format", "bytes", "--idle", "1")
    assert shell.run("send", "x", "--format", "bytes", stdin=data).returncode == 0
    assert finish(member)[0] == 0
    assert shell.printed(member) == data


def test_lines_of_a_raw_pipe_are_plain_bytes(shell: CommandLine) -> None:
    member = shell.start("recv", "x", "g", "--count", "3")
    sent = shell.run("send", "x", "--raw", stdin=b"a\n\n\xff\n")
    assert sent.returncode == 0, sent.stderr
    assert [json.loads(line) for line in finish(member)[1].splitlines()] == [
        {"cmd": 0, "base64": base64.b64encode(line).decode()} for line in (b"a", b"", b"\xff")
    ]


def test_bad_line_is_named_and_those_before_it_arrive(shell: CommandLine) -> None:
    member = shell.start("recv", "x", "g", "--count", "2")
    sent = shell.run("send", "x", stdin=b'1\n\n2\n{"a":\n4\n')
    assert sent.returncode == 1
    summary, error = sent.stderr.decode().splitlines(keepends=True)
    assert summary == "sent 2 events to x; g received 2\n"
    assert_one_line(error, "line 4 of standard input: not JSON")
    assert len(finish(member)[1].splitlines()) == 2


def test_event_that_cannot_travel_is_named_by_its_line(shell: CommandLine) -> None:
    shell.start("recv", "x", "g")
    sent = shell.run("send", "x", stdin=b"1\n%d\n" % 10**30)
    assert sent.returncode == 1
    assert_one_line(sent.stderr.splitlines(keepends=True)[1], "line 2 of standard input")


def test_what_was_not_taken_by_a_killed_member_comes_again(shell: CommandLine) -> None:
    survivor = shell.print("recv", "x", "g")
    reader, writer = os.pipe()  # nobody reads it: the member gets stuck
    victim = shell.start("recv", "x", "g", stdout=writer)
    os.close(writer)
    sender = shell.start("send", "x", "--wait", "g:2", "--at-least-once", stdin=PIPE)
    assert sender.stdin is not None
    sender.stdin.write(LINES)
    sender.stdin.close()
    sender.stdin = None
    with open(reader, "rb") as output:
        first = output.readline()
        victim.kill()
        rest = [first, *output]
    assert finish(sender)[0] == 0
    assert end(survivor)[::2] == (143, "")
    lines = [json.loads(line) for line in shell.printed(survivor).splitlines()]
    assert any(line.get("redelivered") for line in lines)
    once = [line["obj"] for line in lines if "redelivered" not in line]
    assert once == sorted(once)
    printed = {json.loads(line)["obj"] for line in rest if line.endswith(b"\n")}
    assert printed | {line["obj"] for line in lines} == set(range(10_000))


def test_killed_sender_is_replaced_by_the_one_that_stands_by(shell: CommandLine) -> None:
    member = shell.start("recv", "x", "g", "--count", "2")
    first = shell.start("send", "x", stdin=PIPE)
    assert first.stdin is not None
    first.stdin.write(b"1\n")
    first.stdin.flush()
    assert wait_for_line(member.stdout, "obj") == '{"cmd":0,"obj":1}\n'
    second = shell.start("send", "x", "--standby", "--verbose", stdin=PIPE)
    wait_for_line(second.stderr, "taking over x")
    first.kill()
    assert second.communicate(b"2\n", 30)[1].endswith(b"sent 1 event to x; g received 1\n")
    assert finish(member)[:2] == (0, b'{"cmd":0,"obj":2}\n')


def test_second_sender_is_refused(shell: CommandLine) -> None:
    first = shell.start("send", "x", stdin=PIPE)
    wait_until(lambda: "x" in shell.entries())
    second = shell.run("send", "x", stdin=b"1\n")
    assert second.returncode == 1
    assert_one_line(second.stderr, "another sender has that destination")
    assert first.poll() is None


def test_sender_reads_no_faster_than_the_group_takes(shell: CommandLine) -> None:
    lines = b"".join(b"%0999d\n" % number for number in range(20_000))
    member = shell.start("recv", "x", "g", "--format", "text", "--count", "20000")
    sender = shell.start("send", "x", "--format", "text", "--wait", "g", stdin=PIPE)
    fed = 0

    def feed() -> None:
        nonlocal fed
        assert sender.stdin is not None
        with sender.stdin as stdin:
            while fed < len(lines):
                fed += stdin.write(lines[fed : fed + 10_000])

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        before, since = -1, time.monotonic()
        while time.monotonic() - since < 1:  # stuck: nobody reads what the member prints
            if fed != before:
                before, since = fed, time.monotonic()
            time.sleep(0.02)
        assert 0 < fed < len(lines) / 2
        assert finish(member)[1] == lines
    finally:
        if member.poll() is None:
            sender.kill()  # which ends the thread
        thread.join()
    sender.stdin = None
    assert finish(sender) == (0, b"", "sent 20,000 events to x; g received 20,000\n")


def test_closed_output_ends_quietly_even_if_nothing_more_comes(shell: CommandLine) -> None:
    member = shell.start("recv", "x", "g")
    head = subprocess.Popen(["head", "-1"], stdin=member.stdout, stdout=PIPE)
    assert member.stdout is not None
    member.stdout.close()
    member.stdout = None
    sender = shell.start("send", "x", stdin=PIPE)
    assert sender.stdin is not None
    sender.stdin.write(b"1\n")
    sender.stdin.flush()
    assert head.communicate(timeout=30)[0] == b'{"cmd":0,"obj":1}\n'
    assert finish(member)[::2] == (0, "")
    wait_until(lambda: shell.entries()["x"].groups == {})


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_commands_leave_nothing_in_the_registry(
    shell: CommandLine, number: int, status: int
) -> None:
    keeper = shell.start("announce-sender", "y", "g", "tcp://127.0.0.1:9")  # and the registry
    wait_until(lambda: "y" in shell.entries())
    watch = shell.start("watch", "y")
    others = [
        shell.start("recv", "x", "g"),
        shell.start("announce-member", "x", "g"),
        shell.start("send", "x", "--raw", stdin=PIPE),
    ]
    wait_until(lambda: (found := shell.entries().get("x")) and found.sender)
    wait_until(lambda: len(members(shell, "x", "g")) == 2)
    wait_for_line(watch.stdout, "+ y/g")
    wait_for_line(others[1].stdout, "tcp://")
    for process in (watch, *others):
        process.send_signal(number)
    assert finish(watch) == (status, b"", "")
    assert [finish(process)[::2] for process in others] == [
        (status, ""),
        (status, ""),
        (status, "sent 0 events to x; g received 0\n"),
    ]
    assert list(shell.entries()) == ["y"]
    assert keeper.poll() is None


def test_interrupted_sender_says_what_was_received(shell: CommandLine) -> None:
    member = shell.start("recv", "x", "g")
    sender = shell.start("send", "x", stdin=PIPE)
    assert sender.stdin is not None
    sender.stdin.write(b"1\n2\n")
    sender.stdin.flush()
    wait_for_line(member.stdout, '"obj":2')
    sender.send_signal(signal.SIGINT)
    assert sender.wait(30) == 130
    assert finish(sender)[2] == "sent 2 events to x; g received 2\n"


def test_lines_can_be_typed_and_the_terminal_is_told_how_it_goes(shell: CommandLine) -> None:
    terminal, side = pty.openpty()
    sender = shell.start("send", "x", stdin=side, stderr=side)
    os.close(side)
    with open(terminal, "rb+", buffering=0) as typed:
        typed.write(b"1\n")
        said = b""
        while b"waiting for a group: eventgraph pipes recv x GROUP" not in said:
            assert select.select([typed], [], [], LIMIT)[0], said
            said += typed.read(100)
        member = shell.start("recv", "x", "g", "--count", "1")
        assert finish(member)[1] == b'{"cmd":0,"obj":1}\n'
        typed.write(b"\x04")  # Ctrl-D
        assert sender.wait(LIMIT) == 0


@pytest.mark.usefixtures("shell")
def test_recv_ends_when_nothing_comes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["pipes", "recv", "x", "g", "--idle", "0.1"]) == 0
    assert main(["pipes", "recv", "x", "g", "--idle", "0.1", "--count", "3"]) == 1
    assert_one_line(capfd.readouterr().err, "0 of 3 events came, then none for 0.1 s")


def test_what_nobody_waits_for_is_counted(shell: CommandLine) -> None:
    sent = shell.run("send", "x", "--no-wait", stdin=b"1\n2\n")
    assert (sent.returncode, sent.stderr) == (0, b"sent 2 events to x; 2 found no group\n")


def test_list_shows_who_is_there(shell: CommandLine, capfd: pytest.CaptureFixture[str]) -> None:
    member = shell.start("recv", "sound", "mixers")
    sender = shell.start("send", "sound", "--at-least-once", stdin=PIPE)
    wait_until(lambda: (found := shell.entries().get("sound")) and found.sender)
    wait_until(lambda: (found := shell.entries()["sound"].groups) and found["mixers"].pipe)
    pipe = shell.entries()["sound"].groups["mixers"].pipe
    assert pipe is not None
    host = socket.gethostname()
    assert main(["pipes", "ls", "sound"]) == 0
    assert capfd.readouterr().out == (
        f"1 destination, 1 group, 1 member in {shell.registry}\n"
        "\n"
        f"sound     {host}, pid {sender.pid}, at least once\n"
        f"  mixers  {pipe.url}\n"
        f"          - {host}, pid {member.pid}\n"
    )
    assert main(["pipes", "ls", "--json"]) == 0
    found = msgspec.json.decode(capfd.readouterr().out, type=dict[str, DestinationEntry])
    assert found == shell.entries()
    assert main(["pipes", "ls", "video"]) == 1
    assert_one_line(capfd.readouterr().err, "no destination video")


def test_list_of_nothing_says_so(shell: CommandLine, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["pipes", "ls"]) == 0
    assert capfd.readouterr().out == (
        f"no destination, and no group that waits for one, in {shell.registry}\n"
    )
    assert main(["pipes", "ls", "--json"]) == 0
    assert capfd.readouterr().out == "{}\n"


def test_watch_prints_what_comes_and_goes(shell: CommandLine) -> None:
    watch = shell.start("watch")
    member = shell.start("recv", "sound", "mixers")
    assert wait_for_line(watch.stdout, "+ sound/mixers")[9:] == (
        f"+ sound/mixers  member {socket.gethostname()}, pid {member.pid}\n"
    )
    sender = shell.start("send", "sound", stdin=PIPE)
    wait_for_line(watch.stdout, "+ sound  sender")
    wait_for_line(watch.stdout, "+ sound/mixers  pipe tcp://127.0.0.1:")
    sender.kill()
    gone = [wait_for_line(watch.stdout, "- sound") for _ in range(2)]
    assert ["pipe" in line for line in gone] == [True, False]
    end(member)
    wait_for_line(watch.stdout, "- sound/mixers  member")


def test_watch_tells_programs_of_changes_as_json(shell: CommandLine) -> None:
    watch = shell.start("watch", "sound", "--json")
    shell.start("recv", "noise", "g")
    member = shell.start("recv", "sound", "mixers")
    change = json.loads(wait_for_line(watch.stdout, ""))
    assert datetime.fromisoformat(change.pop("time")).tzinfo is not None
    assert len(change.pop("member")) == 32
    assert change == {
        "change": "come",
        "what": "member",
        "record": {"host": socket.gethostname(), "pid": member.pid},
        "destination": "sound",
        "group": "mixers",
    }


def test_watch_says_that_the_registry_is_away_and_back(shell: CommandLine) -> None:
    server = shell.start("announce-sender", "x", "g", "tcp://127.0.0.1:9")
    wait_until((shell.directory / "registry.sock").exists)
    watch = shell.start("watch")
    wait_for_line(watch.stdout, "+ x/g  pipe tcp://127.0.0.1:9, raw")
    server.kill()
    wait_for_line(watch.stdout, "! the registry is away")
    wait_for_line(watch.stdout, "! the registry is back")
    wait_for_line(watch.stdout, "- x/g")


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["ls", "--registry", "consul://x"], 1, "no registry 'consul://x': use embedded:"),
        (["ls", "--registry", "etcd://127.0.0.1:1", "--timeout", "0.5"], 1, "127.0.0.1:1"),
        (["send", "x", "--registry", "etcd://127.0.0.1:1", "--timeout", "0.5"], 1, "127.0.0.1:1"),
        (["ls", "--registry", "embedded:/no/where/r.sock"], 1, "no directory /no/where"),
        (["ls", "--prefix", "streams"], 1, "must be a path that begins with a slash"),
        (["ls", "a/b"], 1, "must not have a slash"),
        (["recv", "a/b", "g"], 1, "must not have a slash"),
        (
            ["ls", "--registry-ca", "/ca.pem"],
            1,
            "--registry-ca, --registry-cert and --registry-key",
        ),
        (["recv", "x", "g", "--ca", "/c", "--cert", "/c", "--key", "/k"], 1, "/c"),
        (["send", "x", "--ports", "high"], 1, "--ports high: expected a port, or two"),
        (["send", "x", "--ports", "9-5"], 1, "ports 9-5"),
        (["send", "x", "--interface", "no0"], 1, "no network interface 'no0'"),
        (["send", "x", "--wait", "g:none"], 1, "--wait g:none: expected GROUP or GROUP:COUNT"),
        (["send", "x", "--raw", "--format", "json"], 1, "--raw carries bytes"),
        (["send", "x", "--raw", "--at-least-once"], 1, "at_most_once only"),
        (["announce-sender", "x", "g", "there"], 1, "'there' is no URL"),
        (["recv", "x"], 2, "GROUP"),
        (["recv", "x", "g", "--count", "0"], 2, "--count"),
        (["send", "x", "--format", "yaml"], 2, '"json", "text", "bytes"'),
        (["sned", "x"], 2, "send"),
    ],
)
@pytest.mark.usefixtures("shell")
def test_mistake_is_one_line_with_a_way_out(
    capfd: pytest.CaptureFixture[str], arguments: list[str], status: int, expected: str
) -> None:
    assert main(["pipes", *arguments]) == status
    assert_one_line(capfd.readouterr().err, expected)


@pytest.mark.parametrize(("module", "extra"), [("ifaddr", "pipes"), ("zmq", "zmq")])
def test_missing_extra_is_a_hint(shell: CommandLine, module: str, extra: str) -> None:
    stub = f"raise ModuleNotFoundError('No module named {module}', name='{module}')"
    (shell.directory / f"{module}.py").write_text(stub)
    transport = "zmq" if module == "zmq" else "nng"
    arguments = ("recv", "x", "g", "--transport", transport)
    done = shell.run(*arguments, environment={"PYTHONPATH": str(shell.directory)})
    assert done.returncode == 1
    assert_one_line(done.stderr, f"pip install 'eventgraph[{extra}]'")
