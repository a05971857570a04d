"""``eventgraph flows`` that looks at clients, starts and ends them, and writes new ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtp.cli import main
from rtp.flows.launch import launch_name
from tests.flows.command_line import FlowCommandLine, open_flow_command_line
from tests.flows.test_cli import TONE, assert_one_line
from tests.pipes.command_line import CALL, LIMIT, end, wait_for_line, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowCommandLine]:
    with open_flow_command_line() as commands:
        for name, value in {**commands.environment, "EVENTGRAPH_FLOWS_MACHINE": "left"}.items():
            monkeypatch.setenv(name, value)
        server = commands.start("serve")
        wait_for_line(server.stdout, "serving tests of me on left")
        yield commands


# What there is


def test_tables_show_machines_clients_and_flows(
    served: FlowCommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    provider = served.start(*TONE, "--name", "microphone", "--allow-flowcontrol")
    served.start("stop", "lab/tone", "--name", "operator")
    served.wait_for_flow("lab/tone", consumers=1)
    assert main(["flows", "ls"]) == 0
    shown = capfd.readouterr().out
    machines, clients, flows = [block.splitlines() for block in shown.split("\n\n")[1:4]]
    assert shown.startswith("tests of me\n")
    assert machines[0].split()[:2] == ["machine", "server"]
    assert machines[2].split()[:2] == ["left", "pid"]
    assert len(clients) == 4  # who only looks is of no interest
    assert f"{provider.pid}" in next(line for line in clients if line.startswith("microphone"))
    for text in (
        "lab/tone",
        "AUDIO 48 kHz 1ch s16",
        "microphone",
        "stopped by operator",
        "operator (stopped)",
        "64 KiB",
    ):
        assert text in flows[2]


def test_who_waits_for_what_nobody_provides_is_shown(
    served: FlowCommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = "AUDIO,channels=2,rate=16000"
    ear = served.start("consume", "lab/tonne", "--name", "ear", "--format", wanted)
    wait_until(lambda: bool(served.listing().machines[0].waiting))
    (waiting,) = served.listing().machines[0].waiting
    assert (waiting.name, str(waiting.pattern), str(waiting.format)) == ("ear", "lab/tonne", wanted)
    assert main(["flows", "ls"]) == 0
    shown = capfd.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("lab/tonne"))
    assert row.split()[1:] == ["left", "AUDIO", "16", "kHz", "2ch", "waited", "for", "ear"]
    assert main(["flows", "map"]) == 0
    line = f"  ear  pid {ear.pid}, waits for lab/tonne as {wanted}\n"
    assert line in capfd.readouterr().out
    served.start(*TONE[:1], "lab/tonne", *TONE[2:])
    wait_until(lambda: not served.listing().machines[0].waiting)


def test_map_shows_who_feeds_whom_across_machines(
    served: FlowCommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    provider = served.start(*TONE, "--name", "microphone")
    wanted = "AUDIO,channels=1,rate=16000,sample=s16"
    served.start("consume", "lab/tone", "--name", "recogniser", "--format", wanted)
    away = served.start("consume", "lab/tone", "--name", "listener", "--machine", "right")
    wait_until(lambda: len(served.listing().machines) == 2)
    wait_until(lambda: sum(1 for _ in served.listing().flows()) == 3)
    assert main(["flows", "map"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "tests of me: 2 machines, 4 clients, 1 flow"
    assert lines[2:5] == [
        "left",
        f"  microphone  pid {provider.pid}",
        "  └─ lab/tone  AUDIO,channels=1,rate=48000,sample=s16",
    ]
    tree = "\n".join(lines[5:])
    assert "converter, pid " in tree
    assert f"lab/tone  {wanted}, converted" in tree
    assert "─ lab/tone at right  AUDIO,channels=1,rate=48000,sample=s16, brought in" in tree
    assert f"─ listener at right  pid {away.pid}" in tree
    assert main(["flows", "map", "--mermaid"]) == 0
    assert capfd.readouterr().out.startswith('flowchart LR\n    subgraph m0["left"]\n')
    assert main(["flows", "ls", "--here", "--json"]) == 0
    assert '"right"' not in capfd.readouterr().out


def test_realm_without_anything_says_how_to_begin(
    served: FlowCommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert served.listing().machines[0].name == "left"
    assert main(["flows", "ls"]) == 0
    assert "no flows: eventgraph flows provide GROUP/NAME begins one" in capfd.readouterr().out
    assert main(["flows", "map"]) == 0
    assert capfd.readouterr().out == (
        "tests of me: 1 machine, 0 clients, 0 flows\n\nleft\n  nobody\n"
    )


# Started and ended


def test_client_is_run_and_ended_by_the_server(served: FlowCommandLine) -> None:
    command = [sys.executable, "-c", CALL, "flows", *TONE]
    done = served.run("run", "--name", "tone", "--", *command)
    assert done.returncode == 0, done.stderr
    name, _, _, id, *_ = done.stdout.decode().replace(";", "").split()
    served.wait_for_flow("lab/tone")
    (client,) = [c for c in served.listing().machines[0].clients if c.name == name == "tone"]
    assert (client.id, client.launched) == (id, True)
    done = served.run("end", "tone")
    assert done.stdout == b"tone on left was asked to end\n"
    wait_until(lambda: not any(c.name == "tone" for c in served.listing().machines[0].clients))
    wait_until(lambda: not Path(f"/proc/{client.pid}").exists())


def test_client_that_was_killed_is_started_again(served: FlowCommandLine) -> None:
    command = [sys.executable, "-c", CALL, "flows", *TONE]
    served.run("run", "--name", "tone", "--", *command)
    served.wait_for_flow("lab/tone")
    (client,) = [c for c in served.listing().machines[0].clients if c.name == "tone"]
    os.kill(client.pid, signal.SIGKILL)
    wait_until(
        lambda: any(
            c.name == "tone" and c.pid not in (0, client.pid) and c.restarts == 1
            for c in served.listing().machines[0].clients
        )
    )


def test_client_is_ended_by_the_beginning_of_its_id(served: FlowCommandLine) -> None:
    twins = [served.start("consume", f"lab/{n}", "--name", "twin") for n in "ab"]
    wait_until(lambda: len(served.listing().machines[0].clients) == 2)
    done = served.run("end", "twin")
    assert done.returncode == 1
    assert_one_line(done.stderr, "there are several clients twin, say which by its id")
    first = next(c for c in served.listing().machines[0].clients if c.pid == twins[0].pid)
    assert served.run("end", first.id[:12]).returncode == 0
    assert twins[0].wait(LIMIT) == 0
    assert twins[0].stderr is not None
    assert b"ended: somebody has asked for it" in twins[0].stderr.read()
    done = served.run("end", "nobody")
    assert_one_line(done.stderr, "there is no client nobody; there are: ", "(twin on left)")
    assert end(twins[1])[0] == 143


def test_machine_that_is_not_there_runs_nothing(served: FlowCommandLine) -> None:
    done = served.run("run", "--on", "nowhere", "--", "sleep", "1")
    assert done.returncode == 1
    assert_one_line(done.stderr, "nowhere")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/ffmpeg -i x", "ffmpeg"),
        ("python -m studio.mixer --loud", "studio"),
        ("/opt/bin/python3.11 programs/mixer.py", "mixer"),
        ("python", "python"),
    ],
)
def test_client_is_called_like_its_program(command: str, name: str) -> None:
    assert launch_name(tuple(command.split())) == name


# New


@pytest.mark.parametrize("kind", ["provider", "consumer", "both"])
def test_skeleton_passes_the_linter(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my-client.py"
    assert main(["flows", "new", str(path), "--kind", kind, "-a", "studio"]) == 0
    assert f"eventgraph flows run -a studio -- python {path}" in capfd.readouterr().out
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--no-cache", "--config"]
        checked = subprocess.run(
            [*ruff, str(ROOT / "pyproject.toml"), str(path)], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout
    text = path.read_text()
    assert "@" not in text.replace("@asynccontextmanager", "")
    assert "my-client" in text
    assert '"studio"' in text


def test_nothing_is_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixer.py"
    path.write_text("mine")
    assert main(["flows", "new", str(tmp_path / "mixer")]) == 1
    assert_one_line(capfd.readouterr().err, f"{path} exists already")
    assert path.read_text() == "mine"
    assert main(["flows", "new", str(tmp_path / "no" / "mixer")]) == 1
    assert_one_line(capfd.readouterr().err, "cannot be written: No such file")


def test_skeletons_run_and_work_together(served: FlowCommandLine, tmp_path: Path) -> None:
    surroundings = {"XDG_RUNTIME_DIR": str(served.directory / "run")}
    host = served.start("serve", "--machine", "", "--application", "new", "--user", "")
    wait_for_line(host.stdout, "serving new of")
    programs = {}
    for name, kind in (("source", "provider"), ("mixer", "both"), ("sink", "consumer")):
        path = tmp_path / f"{name}.py"
        assert main(["flows", "new", str(path), "--kind", kind, "-a", "new"]) == 0
        if kind == "consumer":
            path.write_text(path.read_text().replace("*/tone", "mixer/quiet"))
        programs[name] = served.start_program(sys.executable, str(path), environment=surroundings)
    line = wait_for_line(programs["sink"].stdout, "mixer/quiet")
    assert "bytes of AUDIO,channels=1,rate=16000,sample=s16" in line
    for program in reversed(programs.values()):
        assert end(program, signal.SIGINT)[::2] == (0, "")


def test_skeleton_of_a_consumer_ends_when_nobody_reads(
    served: FlowCommandLine, tmp_path: Path
) -> None:
    served.start(*TONE)
    path = tmp_path / "sink.py"
    assert main(["flows", "new", str(path), "--kind", "consumer", "-a", "tests"]) == 0
    registry = served.environment["EVENTGRAPH_REGISTRY"]
    realm = "RealmOptions(application='tests', user='me', machine='left', runtime_directory="
    realm += f"Path({str(served.directory / 'run')!r}), registry={registry!r}).server()"
    imports = "from pathlib import Path\nfrom rtp.flows.options import RealmOptions\n"
    text = path.read_text().replace("open_flows(APPLICATION,", f"open_flows({realm},")
    path.write_text(text.replace("import trio\n", f"import trio\n{imports}", 1))
    program = served.start_program(sys.executable, str(path))
    wait_for_line(program.stdout, "lab/tone")
    assert program.stdout is not None
    program.stdout.close()
    assert program.wait(LIMIT) == 0
    assert program.stderr is not None
    assert program.stderr.read() == b""
