"""``eventgraph flows``: what stands between shells, and what goes wrong there."""

import itertools
import json
import signal
import subprocess
from collections.abc import Iterator
from subprocess import PIPE
from typing import IO

import numpy as np
import pytest

from rtp.cli import main
from tests.flows.command_line import FlowCommandLine, open_flow_command_line
from tests.pipes.command_line import end, finish, wait_for_line, wait_until

TONE = ("provide", "lab/tone", "--tone", "440")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowCommandLine]:
    with open_flow_command_line() as commands:
        for name, value in commands.environment.items():
            monkeypatch.setenv(name, value)
        yield commands


@pytest.fixture
def served(shell: FlowCommandLine) -> FlowCommandLine:
    """With a server that does not outlive the test."""
    server = shell.start("serve")
    wait_for_line(server.stdout, "serving tests of me")
    return shell


def assert_one_line(errors: str | bytes, *parts: str) -> None:
    text = errors if isinstance(errors, str) else errors.decode()
    assert text.startswith("eventgraph: "), text
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    for part in parts:
        assert part in text


def start_consumer(
    shell: FlowCommandLine, *arguments: str, stdout: int | IO[bytes] = PIPE
) -> subprocess.Popen[bytes]:
    """One that was heard of, and gets the first block; before there is a provider."""
    consumer = shell.start("consume", *arguments, "--verbose", stdout=stdout)
    wait_for_line(consumer.stderr, "waiting for a provider")
    return consumer


# The server


def test_without_a_server_ls_says_so_and_starts_none(shell: FlowCommandLine) -> None:
    done = shell.run("ls")
    assert done.returncode == 1
    assert_one_line(done.stderr, "no server of tests of me in", "eventgraph flows serve")
    assert not list((shell.directory / "run").iterdir())


def test_server_says_what_it_serves_and_leaves_nothing(shell: FlowCommandLine) -> None:
    server = shell.start("serve", "--machine", "left")
    wait_for_line(server.stdout, "serving tests of me on left; Ctrl-C ends it")
    assert str(shell.directory / "run" / "sf_tests") in wait_for_line(server.stdout, "directory")
    assert "every process of this system user" in wait_for_line(server.stdout, "trusts")
    assert end(server, signal.SIGINT)[::2] == (0, "")
    wait_until(lambda: not list((shell.directory / "run").iterdir()))


def test_second_server_is_told_who_serves(served: FlowCommandLine) -> None:
    pid = served.listing().machines[0].pid
    done = served.run("serve")
    assert done.returncode == 1
    assert_one_line(done.stderr, f"process {pid} serves tests of me", f"kill {pid}")


def test_client_starts_a_server_that_ends_with_it(shell: FlowCommandLine) -> None:
    assert shell.run("provide", "lab/x", stdin=b"1\n").stderr == (
        b"lab/x: 1 block, 1 byte; nobody was there to take them\n"
    )
    assert len(shell.listing().machines) == 1


def test_who_does_not_know_the_secret_gets_nothing(shell: FlowCommandLine) -> None:
    ours, theirs = shell.directory / "ours", shell.directory / "theirs"
    for path in (ours, theirs):
        path.write_text(f"a secret that is long enough: {path.name}")
        path.chmod(0o600)
    server = shell.start("serve", "--secret-file", str(ours))
    assert "whoever knows the secret" in wait_for_line(server.stdout, "trusts")
    assert shell.run("ls", "--secret-file", str(ours)).returncode == 0
    for others in (("--secret-file", str(theirs)), ()):
        done = shell.run("ls", *others)
        assert (done.returncode, done.stdout) == (1, b"")
        assert_one_line(done.stderr)


# Blocks


def test_lines_come_out_as_they_went_in(served: FlowCommandLine) -> None:
    lines = b"".join(b"%d\n" % number for number in range(5000)) + b"\nlast"
    consumer = start_consumer(served, "lab/numbers", "--lines", "--count", "5002")
    sent = served.run("provide", "lab/numbers", stdin=lines)
    assert sent.stderr == b"lab/numbers: 5,002 blocks, 18,894 bytes\n"
    assert sent.returncode == 0
    status, output, errors = finish(consumer)
    assert (status, output) == (0, lines + b"\n")
    assert errors.endswith("lab/numbers: 5,002 blocks, 18,894 bytes; missed 0\n")


@pytest.mark.parametrize("where", ["standard input", "a file"])
def test_bytes_of_a_fixed_size_pass_through_the_ring(served: FlowCommandLine, where: str) -> None:
    data = np.random.default_rng(6).bytes(20 * 100_000 + 7)
    path = served.directory / "data"
    path.write_bytes(data)
    output = served.directory / "output"  # a pipe would hold them all up
    with output.open("wb") as file:
        consumer = start_consumer(served, "lab/data", "--raw", "--count", "21", stdout=file)
    options = ("provide", "lab/data", "--block-size", "100000", "--slots", "4")
    if where == "a file":
        sent = served.run(*options, "--file", str(path))
    else:
        sent = served.run(*options, stdin=data)
    assert sent.stderr == b"lab/data: 21 blocks, 2,000,007 bytes\n"
    assert finish(consumer)[0] == 0
    assert output.read_bytes() == data


def test_blocks_with_their_length_before_them_keep_it(served: FlowCommandLine) -> None:
    blocks = [b"", b"one", b"\n" * 70_000]
    data = b"".join(len(block).to_bytes(4, "big") + block for block in blocks)
    consumer = start_consumer(served, "lab/x", "--json", "--count", "3")
    assert served.run("provide", "lab/x", "--length-prefixed", stdin=data).returncode == 0
    lines = [json.loads(line) for line in finish(consumer)[1].splitlines()]
    assert [line["bytes"] for line in lines] == [0, 3, 70_000]
    assert [line["sequence"] for line in lines] == [0, 1, 2]
    assert {(line["key"], line["format"]) for line in lines} == {("lab/x", "RAW")}


def test_tone_is_paced_and_sounds_as_it_should(served: FlowCommandLine) -> None:
    served.start(*TONE)
    assert served.run("consume", "*/tone", "-n", "1").returncode == 0
    done = served.run("consume", "*/tone", "--json", "-n", "20")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    times = [line["timestamp"] for line in lines]
    steps = {b - a for a, b in itertools.pairwise(times)}
    assert {line["bytes"] for line in lines} == {1920}
    assert min(steps) == 20_000_000
    sound = served.run("consume", "lab/tone", "--raw", "-n", "50").stdout
    spectrum = np.abs(np.fft.rfft(np.frombuffer(sound, np.int16)))
    assert abs(int(np.argmax(spectrum)) - 440) <= 1  # 1 s: 1 Hz a bin


def test_consumer_gets_the_format_that_it_wants(served: FlowCommandLine) -> None:
    served.start(*TONE)
    wanted = "AUDIO,channels=2,rate=16000,sample=f32"
    done = served.run("consume", "lab/tone", "--format", wanted, "--json", "-n", "3")
    assert {json.loads(line)["format"] for line in done.stdout.splitlines()} == {wanted}


def test_each_block_is_a_line_for_people(served: FlowCommandLine) -> None:
    consumer = start_consumer(served, "lab/x", "-n", "1")
    served.run("provide", "lab/x", stdin=b"abc")
    key, sequence, time, unit, size, what = finish(consumer)[1].split()
    assert (key, sequence, unit, size, what) == (b"lab/x", b"0", b"s", b"3", b"bytes")
    assert float(time) > 0


def test_take_over_is_told_to_both_sides(served: FlowCommandLine) -> None:
    consumer = start_consumer(served, "lab/tone", "--json")
    first = served.start(*TONE)
    wait_for_line(consumer.stdout, "lab/tone")
    second = served.start(*TONE, "--name", "second")
    status, _, errors = finish(first)
    assert status == 0
    assert "; another provider has taken over; this one ends" in errors
    assert wait_for_line(consumer.stdout, '"sequence":0')
    summary = end(consumer, signal.SIGINT)[2]
    assert "; takeovers 1, the last with a gap of " in summary
    assert end(second)[0] == 143


def test_consumer_is_told_which_format_comes(served: FlowCommandLine) -> None:
    served.start(*TONE)
    served.wait_for_flow("lab/tone")
    consumer = served.start("consume", "lab/tone", "--verbose")
    text = "lab/tone: connected: AUDIO,channels=1,rate=48000,sample=s16\n"
    assert wait_for_line(consumer.stderr, "connected") == text


def test_format_that_changes_is_told_to_who_asked_for_nothing(served: FlowCommandLine) -> None:
    served.start(*TONE)
    consumer = served.start("consume", "lab/tone")
    wait_for_line(consumer.stdout, "1920 bytes")
    served.start(*TONE, "--format", "AUDIO,rate=16000,channels=1,sample=s16")
    text = "lab/tone: connected: AUDIO,channels=1,rate=16000,sample=s16\n"
    assert wait_for_line(consumer.stderr, "") == text


def test_provider_that_waits_for_input_notices_the_take_over(served: FlowCommandLine) -> None:
    first = served.start("provide", "lab/x", stdin=PIPE)
    served.wait_for_flow("lab/x")
    served.run("provide", "lab/x")
    assert first.wait(30) == 0
    assert first.stderr is not None
    assert b"another provider has taken over" in first.stderr.read()


def test_interrupted_commands_say_what_they_did(served: FlowCommandLine) -> None:
    consumer = start_consumer(served, "lab/x", "--lines")
    provider = served.start("provide", "lab/x", stdin=PIPE)
    served.wait_for_flow("lab/x", consumers=1)
    assert provider.stdin is not None
    provider.stdin.write(b"a\nb\n")
    provider.stdin.flush()
    wait_for_line(consumer.stdout, "b")
    for process, summary in ((provider, "lab/x: 2 blocks, 2 bytes\n"), (consumer, "; missed 0\n")):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read().decode().endswith(summary)


def test_consume_ends_when_nothing_comes(served: FlowCommandLine) -> None:
    assert served.run("consume", "lab/x", "--idle", "0.2").returncode == 0
    done = served.run("consume", "lab/x", "--idle", "0.2", "--count", "2")
    assert done.returncode == 1
    assert b"0 of 2 blocks came, then none for 0.2 s" in done.stderr


def test_input_that_is_no_block_is_named_and_what_came_before_arrives(
    served: FlowCommandLine,
) -> None:
    consumer = start_consumer(served, "lab/x", "--lines", "-n", "1")
    sent = served.run("provide", "lab/x", "--length-prefixed", stdin=b"\0\0\0\1a\0\0\0\5bc")
    assert sent.returncode == 1
    assert b"standard input: the input ends within a block" in sent.stderr
    assert finish(consumer)[1] == b"a\n"
    sent = served.run("provide", "lab/x", "--max-block", "10", stdin=b"x" * 11 + b"\n")
    assert sent.returncode == 1
    assert b"make --max-block larger" in sent.stderr


# Flow control


def test_stop_lasts_as_long_as_who_said_it(served: FlowCommandLine) -> None:
    served.start(*TONE, "--allow-flow-control")
    served.wait_for_flow("lab/tone")
    stop = served.start("stop", "lab/tone", "--name", "operator")
    assert wait_for_line(stop.stdout, "") == "lab/tone: stopped; Ctrl-C starts it again\n"
    stopped = served.flow("lab/tone")
    assert stopped is not None
    assert (stopped.running, stopped.stopped_by) == (False, ("operator",))
    stop.kill()
    assert served.run("consume", "lab/tone", "-n", "3", "--idle", "20").returncode == 0
    running = served.flow("lab/tone")
    assert running is not None
    assert running.running


def test_flow_that_does_not_allow_it_is_not_stopped(served: FlowCommandLine) -> None:
    served.start(*TONE)
    served.wait_for_flow("lab/tone")
    done = served.run("stop", "lab/tone")
    assert done.returncode == 1
    assert_one_line(done.stderr, "lab/tone does not allow flow control", "--allow-flowcontrol")


def test_provider_waits_for_the_start_of_so_many(served: FlowCommandLine) -> None:
    provider = served.start("provide", "lab/x", "--wait-client", "2", "-v", stdin=PIPE)
    assert provider.stdin is not None
    provider.stdin.write(b"a\n")
    provider.stdin.flush()
    wait_for_line(provider.stderr, "waiting to be started by 2 clients")
    consumer = start_consumer_of_a_waiting_flow(served)
    assert (flow := served.flow("lab/x")) is not None
    assert not flow.running
    first = served.start("start", "lab/x", "--name", "first")
    wait_for_line(first.stdout, "START is said to lab/x")
    assert (flow := served.flow("lab/x")) is not None
    assert not flow.running
    served.start("start", "*/x", "--name", "second")
    wait_for_line(provider.stderr, "lab/x: running")
    assert finish(consumer)[1] == b"a\n"
    assert end(first, signal.SIGINT)[0] == 130


def test_provider_waits_for_who_consumes(served: FlowCommandLine) -> None:
    provider = served.start("provide", "lab/x", "--wait-client", "1", "-v", stdin=PIPE)
    wait_for_line(provider.stderr, "waiting to be started by 1 client\n")
    assert provider.stdin is not None
    with provider.stdin as file:
        file.write(b"a\nb\n")
    served.wait_for_flow("lab/x")
    done = served.run("consume", "*/x", "--lines", "--start", "-n", "2")
    assert done.stdout == b"a\nb\n"
    assert provider.wait(30) == 0
    assert provider.stderr is not None
    assert provider.stderr.read().endswith(b"lab/x: 2 blocks, 2 bytes\n")


def start_consumer_of_a_waiting_flow(shell: FlowCommandLine) -> subprocess.Popen[bytes]:
    consumer = shell.start("consume", "lab/x", "--lines", "-n", "1")
    shell.wait_for_flow("lab/x", consumers=1)
    return consumer


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["ls", "--application", ""], 1, "--application NAME, or $EVENTGRAPH_FLOWS_APPLICATION"),
        (["ls", "--application", "a b"], 1, "the application 'a b' must be"),
        (["ls", "--ca", "/x"], 1, "--ca, --cert and --key go together"),
        (["ls", "--runtime-directory", "/no/where"], 1, "/no/where"),
        (["serve", "--application", "a/b"], 1, "the application 'a/b' must be"),
        (["serve", "--idle-timeout", "-1"], 2, "--idle-timeout"),
        (["provide", "x"], 1, "one looks like group/name"),
        (["provide", "lab/x", "--format", "AUDIO,rate"], 1, "give each parameter once"),
        (["provide", "lab/x", "--tone", "440", "--file", "x"], 1, "leave --file out"),
        (["provide", "lab/x", "--tone", "440", "--interval", "1"], 1, "leave --interval out"),
        (["provide", "lab/x", "--tone", "440", "-f", "VIDEO"], 1, "--tone makes sound of 16 bits"),
        (["provide", "lab/x", "--tone", "30000"], 1, "less than 24000 Hz"),
        (["provide", "lab/x", "--block-size", "1", "--length-prefixed"], 1, "choose one"),
        (["provide", "lab/x", "--block-size", "9", "--max-block", "8"], 1, "make that larger"),
        (["provide", "lab/x", "--slots", "1"], 1, "slots is 1"),
        (["provide", "lab/x", "--slow-consumer", "wait"], 2, '"block", "drop_oldest"'),
        (["consume", "lab"], 1, "group/name or */name"),
        (["consume", "lab/x", "--raw", "--json"], 1, "choose one"),
        (["consume", "lab/x", "--count", "0"], 2, "--count"),
        (["run"], 1, "eventgraph flows run -- PROGRAM"),
        (["end"], 2, "CLIENT"),
        (["new", "a b"], 1, "the name of a client 'a b' must be"),
        (["sotp", "lab/x"], 2, "stop"),
        (["consume", "lab/*"], 1, "only a whole group can be *, as in */name"),
        (["consume", "x*/y"], 1, "only a whole group can be *, as in */name"),
        (["consume", "lab/x", "--nope"], 2, "See `eventgraph flows consume --help`."),
        (["provide", "lab/x", "-f", "AUDIO,rate=x"], 1, "rate must be a whole number from 8000"),
        (["consume", "lab/x", "-f", "VIDEO,pixels=x"], 1, "pixels must be one of rgb24, "),
        (["consume", "lab/x", "-f", "audio"], 1, "write AUDIO"),
    ],
)
@pytest.mark.usefixtures("shell")
def test_mistake_is_one_line_with_a_way_out(
    capfd: pytest.CaptureFixture[str], arguments: list[str], status: int, expected: str
) -> None:
    assert main(["flows", *arguments]) == status
    assert_one_line(capfd.readouterr().err, expected)


def test_file_that_is_not_there_is_named(served: FlowCommandLine) -> None:
    done = served.run("provide", "lab/x", "--file", "/no/where")
    assert done.returncode == 1
    assert_one_line(done.stderr, "/no/where cannot be read: No such file")
