"""``eventgraph flows`` between machines: where a server listens, and what is wrong if it is."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventgraph.flows.server.peers import unreachable
from eventgraph.pipes import Binding
from rtp.cli import main
from rtp.flows.options import RealmOptions
from tests.flows.command_line import FlowCommandLine, open_flow_command_line
from tests.flows.test_cli import TONE, assert_one_line
from tests.flows.test_machines import etcd, stopped_etcd
from tests.pipes.command_line import CALL, end, wait_for_line, wait_until
from tests.pipes.namespaces import Machine, network

NOBODY = "etcd://127.0.0.1:1"  # nothing listens there


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowCommandLine]:
    with open_flow_command_line() as commands:
        commands.environment["EVENTGRAPH_FLOWS_MACHINE"] = "left"
        for name, value in commands.environment.items():
            monkeypatch.setenv(name, value)
        yield commands


def test_server_listens_where_the_options_say(tmp_path: Path) -> None:
    usual = RealmOptions(application="tests")
    assert usual.server().binding == Binding()
    given = RealmOptions(application="tests", interface="eth0", ports="5000-5009", advertise="east")
    binding = Binding(interface="eth0", ports=(5000, 5009), advertise="east")
    assert given.server().binding == binding
    file = tmp_path / "any.pem"
    sealed = RealmOptions(application="tests", host="10.0.0.1", ca=file, cert=file, key=file)
    assert sealed.server().binding == Binding(scheme="tls+tcp", host="10.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ports", "x"], "--ports x: expected a port"),
        (["--ports", "9-5"], "ports 9-5 are no range"),
        (["--advertise", "a/b"], "advertise 'a/b' is no host"),
    ],
)
@pytest.mark.usefixtures("shell")
def test_place_to_listen_that_cannot_be_is_named(
    capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    for command in (["serve"], ["provide", "lab/x"]):
        assert main(["flows", *command, *arguments]) == 1
        assert_one_line(capfd.readouterr().err, expected)


@pytest.mark.parametrize(
    ("registry", "url", "reached"),
    [
        ("etcd://10.0.0.7:2379", "tcp://127.0.0.1:4711", False),
        ("etcd://127.0.0.1:2379", "tls+tcp://[::1]:4711", False),
        ("etcds://10.0.0.7:2379", "tcp://localhost:4711", False),
        ("etcd://10.0.0.7:2379", "tcp://0.0.0.0:4711", False),
        ("etcd://10.0.0.7:2379", "tcp://10.0.0.1:4711", True),
        ("etcd://10.0.0.7:2379", "tcp://east.example:4711", True),
        ("etcd://10.0.0.7:2379", "ipc:///tmp/x.ipc", True),
        ("embedded:", "tcp://127.0.0.1:4711", True),
    ],
)
def test_other_hosts_cannot_reach_loopback(registry: str, url: str, reached: bool) -> None:
    assert (unreachable(registry, url) == "") is reached


def test_registry_that_is_not_there_is_told_wherever_one_looks(shell: FlowCommandLine) -> None:
    shell.environment["EVENTGRAPH_REGISTRY"] = NOBODY
    provided = shell.run("provide", "lab/x", stdin=b"a\n").stderr.decode().splitlines()
    what = "other machines cannot be found: http://127.0.0.1:1 does not answer"
    assert provided[0].startswith(f"warning: {what}")
    consumer = shell.start("consume", "lab/x", "--lines", "-n", "1")
    wait_for_line(consumer.stderr, f"warning: {what}")
    (machine,) = shell.listing().machines
    assert machine.problem.startswith(what)
    assert machine.clients
    assert f"\nleft: {what}" in shell.run("ls").stdout.decode()
    drawn = shell.run("map").stdout.decode()
    assert f"\nleft\n  {what}" in drawn
    assert "  consume  pid " in drawn
    shell.run("provide", "lab/x", stdin=b"a\n")  # here all is as ever
    assert consumer.wait(30) == 0


@pytest.mark.interop("etcd-server")
def test_trouble_with_a_registry_comes_and_goes(shell: FlowCommandLine) -> None:
    with etcd(Here(), shell.directory) as registry:
        shell.environment["EVENTGRAPH_REGISTRY"] = registry
        server = shell.start("serve")
        assert "cannot reach this machine at 127.0.0.1" in wait_for_line(server.stderr, "hosts")

        def problem() -> str:
            return shell.listing().machines[0].problem

        wait_until(lambda: "other hosts cannot reach this machine" in problem())
        with stopped_etcd(shell.directory):
            wait_until(lambda: "other machines cannot be found" in problem())
        wait_until(lambda: "other hosts cannot reach this machine" in problem())
        assert end(server, signal.SIGINT)[0] == 0


class Here(Machine):
    """No namespace."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"

    def command(self, arguments: list[str]) -> list[str]:  # type: ignore[override]
        return arguments


@pytest.mark.interop("etcd-server", "iproute2")
def test_flow_crosses_from_one_host_to_another(shell: FlowCommandLine) -> None:
    with network(machines=1) as net, etcd(net.hub, shell.directory) as registry:
        shell.environment["EVENTGRAPH_REGISTRY"] = registry
        call = (sys.executable, "-c", CALL, "flows")
        east = [*TONE, "--machine", "east", "--host", net.hub.address]
        west = ["consume", "lab/tone", "-n", "5", "--machine", "west", "--interface", "cable"]
        shell.start_program(*net.hub.command([*call, *east]))
        consumer = shell.start_program(*net.others[0].command([*call, *west]))
        output, errors = consumer.communicate(timeout=30)
        assert output.count(b"lab/tone") == 5
        assert b"warning" not in errors
