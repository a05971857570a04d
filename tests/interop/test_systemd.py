"""The page "Run it in production", followed on a machine of its own, under a real systemd."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pipes.processes import PROJECT
from tests.server.test_serve import wait_until

from .machine import LIMIT, Machine, booted

PAGE = (PROJECT / "docs/how-to/production.md").read_text(encoding="utf-8")
BLUE, GREEN = "eventgraph@blue", "eventgraph@green"
URL = "https://media.example:8443"
RECORDING = """\
[tone@studio:tone_source] -> [fan@studio:pubsub] -> {
  [wav@studio:wav_recorder path='tone.wav'], [ogg@studio:recorder path='tone.ogg']
}
"""

pytestmark = pytest.mark.interop(
    "systemd", "systemd-container", "curl", "openssl", "prometheus", "iproute2", "ffmpeg"
)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(language: str, text: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def commands(text: str) -> str:
    """Those of root."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "".join(re.sub(r"^# ", "", each, flags=re.MULTILINE) for each in blocks)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """On which blue runs, as the page says."""
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        settings, unit = section("Settings, token, certificate"), section("The unit")
        machine.shell(commands(settings))
        etc = machine.root / "etc"
        (etc / "eventgraph/blue.toml").write_text(block("toml", settings))
        (etc / "systemd/system/eventgraph@.service").write_text(block("ini", unit))
        machine.shell(commands(unit))
        token = (etc / "eventgraph/token").read_text().strip()
        machine.environment |= {
            "EVENTGRAPH_TOKEN": token,
            "SSL_CERT_FILE": "/etc/eventgraph/tls.crt",
        }
        yield machine


@pytest.fixture
def machine(made: Machine) -> Machine:
    """On which blue runs, and is alone, whatever was done before."""
    made.shell(f"systemctl disable --now {GREEN}; systemctl enable --now {BLUE}")
    return made


def ask(machine: Machine, path: str, *options: str, url: str = URL) -> str:
    bearer = f"Authorization: Bearer {machine.environment['EVENTGRAPH_TOKEN']}"
    return machine.run("curl", "-sS", "-H", bearer, *options, url + path)


def shown(machine: Machine) -> dict[str, str]:
    """Properties of blue, of one moment."""
    return dict(line.split("=", 1) for line in machine.run("systemctl", "show", BLUE).splitlines())


def log(machine: Machine, *options: str) -> str:
    return machine.run("journalctl", "--no-pager", "-u", BLUE, "-o", "cat", *options)


def ended_well(machine: Machine) -> bool:
    now = shown(machine)
    return (now["ActiveState"], now["Result"]) == ("inactive", "success")


def up_again(machine: Machine, process: str) -> bool:
    now = shown(machine)
    return now["ActiveState"] == "active" and now["MainPID"] != process


@contextmanager
def in_a_room(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """A peer of WebRTC that is connected; it stays until its standard input ends."""
    command = machine.command(
        "python3", "-m", "tests.faults.webrtc_peer", f"{URL}/rooms/lobby?name=ann"
    )
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "connected\n" in process.stdout
            yield process
        finally:
            process.kill()


@contextmanager
def draining(machine: Machine, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """While blue waits for its last call; the command that stops it."""
    with subprocess.Popen(machine.command("systemctl", *command, BLUE)) as stop:
        try:
            wait_until(lambda: '"draining":true' in ask(machine, "/status"))
            yield stop
            assert stop.wait(LIMIT) == 0
        finally:
            stop.kill()


def party(machine: Machine) -> dict[str, Any]:
    (ann,) = json.loads(ask(machine, "/rooms/lobby"))["parties"]
    found: dict[str, Any] = ann
    return found


def test_server_of_the_page_is_up_and_wants_its_token(machine: Machine) -> None:
    assert machine.run("systemctl", "is-enabled", BLUE).strip() == "enabled"
    assert machine.run("curl", "-sS", f"{URL}/healthz") == "ok\n"
    assert json.loads(machine.run("curl", "-sS", f"{URL}/status"))["status"] == 401
    assert json.loads(ask(machine, "/status"))["admission"]["open"]
    ask(machine, "/metrics", "-o", "/tmp/metrics")
    assert machine.shell("promtool check metrics < /tmp/metrics 2>&1") == ""
    blue = shown(machine)
    status = machine.run("cat", f"/proc/{blue['MainPID']}/status")
    for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000"):
        assert f"\n{line}\n" in status
    assert int(blue["UID"]) >= 61184  # a user that systemd made up, systemd.exec(5)


def test_filter_of_the_unit_lets_calls_and_recorders_work(machine: Machine) -> None:
    with in_a_room(machine):
        wait_until(
            lambda: bool(party(machine)["connected"] and party(machine)["level"] is not None)
        )
        text = ("-H", "content-type: text/plain; charset=utf-8", "--data-binary", RECORDING)
        assert "added" in json.loads(ask(machine, "/composition", "-X", "PUT", *text))
        files = machine.root / "var/lib/private/eventgraph/recordings"
        wait_until(lambda: duration(files / "tone.wav") > 1 and duration(files / "tone.ogg") > 1)
        assert {path.stat().st_mode & 0o777 for path in files.iterdir()} == {0o640}
        metrics = ask(machine, "/metrics")
        assert "\neventgraph_crashes_total 0.0\n" in metrics
    ask(machine, "/composition", "-X", "PUT", *text[:-1], "")


def duration(path: Path) -> float:
    """Seconds that a recording plays, as far as it goes."""
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=LIMIT)
    times = re.findall(r"[\d.]+", done.stdout)
    return float(times[-1]) if times else 0.0


def test_killed_server_is_started_again(machine: Machine) -> None:
    before = shown(machine)
    machine.run("kill", "-KILL", before["MainPID"])
    wait_until(lambda: up_again(machine, before["MainPID"]))
    assert int(shown(machine)["NRestarts"]) == int(before["NRestarts"]) + 1
    assert ask(machine, "/healthz") == "ok\n"


def test_hung_server_says_where_and_is_started_again(machine: Machine) -> None:
    extra = machine.root / "etc/systemd/system/eventgraph@.service.d/watchdog.conf"
    extra.parent.mkdir(exist_ok=True)
    extra.write_text("[Service]\nWatchdogSec=5\n")
    machine.shell(f"systemctl daemon-reload; systemctl restart {BLUE}")
    process = shown(machine)["MainPID"]
    machine.run("kill", "-STOP", process)
    wait_until(lambda: up_again(machine, process))
    said = log(machine, f"_PID={process}")
    assert "Fatal Python error: Aborted" in said
    assert 'trio/_core/_run.py", line' in said
    extra.unlink()
    machine.shell(f"systemctl daemon-reload; systemctl restart {BLUE}")


def test_upgrade_drops_no_call(machine: Machine) -> None:
    machine.shell(commands(section("Upgrade without dropping calls")))
    with in_a_room(machine) as caller:
        machine.run("systemctl", "enable", "--now", GREEN)
        with draining(machine, "disable", "--now") as stop:
            offer = ("-H", "content-type: application/sdp", "--data-binary", "v=0")
            assert json.loads(ask(machine, "/whip/film", *offer))["status"] == 503
            assert ask(machine, "/healthz", url="https://media.example:8444") == "ok\n"
            assert party(machine)["connected"]
            assert stop.poll() is None
            caller.communicate("")
    assert ended_well(machine)
    said = log(machine, "-p", "warning", "_TRANSPORT=stdout").splitlines()
    assert any("1 may go on for 300 s" in json.loads(line)["message"] for line in said)


def test_second_signal_cuts_a_drain_off(machine: Machine) -> None:
    with in_a_room(machine), draining(machine, "stop"):
        machine.run("systemctl", "kill", BLUE)
    assert ended_well(machine)
    assert "1 sessions were cut off" in log(machine, "-p", "warning")


def test_server_is_up_after_a_reboot(machine: Machine) -> None:
    machine.power_off()
    machine.boot()
    assert shown(machine)["ActiveState"] == "active"
    assert ask(machine, "/healthz") == "ok\n"
