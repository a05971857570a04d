"""The programs under docs/examples/pipes, as a reader runs them."""

import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from rtp.audio.g711 import decode_pcmu
from rtp.media import Samples
from tests.network.sound import AMPLITUDE, levels

from .namespaces import Machine, network
from .processes import PROJECT

EXAMPLES = PROJECT / "docs" / "examples" / "pipes"
LIMIT = 40.0
"""Seconds until what takes one or two must have happened; starting a program may take ten."""
RATE = 8000
TONES = {"anna": 440, "bert": 1000}  # Hz
HEARD, UNHEARD = -20.0, -45.0  # dB; as they are sent they have -12


class Program:
    """One that runs, and what it has said so far."""

    def __init__(self, command: list[str], *, watched: bool = True) -> None:
        self.lines: deque[str] = deque()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if watched else subprocess.DEVNULL,
            text=True,
            cwd=PROJECT,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until it has said so."""
        end = time.monotonic() + LIMIT
        while sum(text in line for line in list(self.lines)) < times:
            assert time.monotonic() < end, list(self.lines)[-30:]
            assert self.process.poll() is None or not self._reader.is_alive(), list(self.lines)
            time.sleep(0.01)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """As by Ctrl-C; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(LIMIT)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextmanager
def running(command: list[str], *, watched: bool = True) -> Iterator[Program]:
    """A program, which is killed in the end if it still runs."""
    program = Program(command, watched=watched)
    try:
        yield program
    finally:
        program.end(signal.SIGKILL)


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]


def test_destination_and_two_groups_in_processes_of_their_own(tmp_path: Path) -> None:
    registry = f"embedded:{tmp_path}/sock"
    with (
        running(example("group", "clock", "first", registry)) as first,
        running(example("destination", "clock", registry)) as destination,
        running(example("group", "clock", "second", registry)) as second,
    ):
        destination.wait_for("sent to 2: ", times=2)
        first.wait_for(":")
        second.wait_for(":")
        for program in (first, destination, second):
            assert program.end() == 0
            assert not any("Traceback" in line for line in program.lines), program.lines
    assert set(second.lines) & set(first.lines)


def test_both_in_one_program(tmp_path: Path) -> None:
    command = example("both_in_one", f"embedded:{tmp_path}/sock")
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n3\n", "")


@pytest.mark.parametrize("name", ["destination", "group", "both_in_one", "remote_mixer"])
def test_example_says_how_it_is_used(name: str) -> None:
    done = subprocess.run(example(name, "--help"), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert f"python {name}.py" in done.stderr


@pytest.mark.parametrize("name", ["destination", "group", "both_in_one", "remote_mixer"])
def test_example_says_what_is_wrong_with_the_registry(name: str) -> None:
    given = {
        "destination": ("clock",),
        "group": ("clock", "g"),
        "both_in_one": (),
        "remote_mixer": ("mixer",),
    }[name]
    host = ("127.0.0.1",) if name == "remote_mixer" else ()
    command = example(name, *given, "carrier-pigeon:", *host)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert done.stderr.startswith("PipeOptionError: "), done.stderr
    assert "Traceback" not in done.stderr


def test_remote_mixer_has_at_most_200_lines() -> None:
    assert len((EXAMPLES / "remote_mixer.py").read_text().splitlines()) <= 200


# The mixer on another machine


@contextmanager
def etcd(machine: Machine, directory: Path) -> Iterator[str]:
    """An etcd on a machine; its URL."""
    url = f"http://{machine.address}:2379"
    command = machine.command(
        [
            *("etcd", "--data-dir", str(directory / "etcd")),
            *("--listen-client-urls", url, "--advertise-client-urls", url),
            *("--listen-peer-urls", "http://127.0.0.1:2380"),
            *("--initial-advertise-peer-urls", "http://127.0.0.1:2380"),
            *("--initial-cluster", "default=http://127.0.0.1:2380"),
        ]
    )
    with running(command) as server:
        server.wait_for("ready to serve client requests")
        yield f"etcd://{machine.address}:2379"


def saying(machine: Machine, tone: int, port: int) -> list[str]:
    """An ffmpeg that says a tone as PCMU."""
    sine = f"sine=frequency={tone}:sample_rate={RATE}:samples_per_frame={RATE // 50}"
    return machine.command(
        [
            *("ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi"),
            *("-i", f"{sine},volume={8 * AMPLITUDE}", "-c:a", "pcm_mulaw"),
            *("-f", "rtp", f"rtp://{machine.address}:{port}"),
        ]
    )


def packets(listener: Program, since: float) -> list[tuple[float, Samples]]:
    """What a listener heard from then on, and when (monotonic seconds)."""
    said = [line.split() for line in list(listener.lines) if " " in line]
    return [
        (float(at), decode_pcmu(bytes.fromhex(data))) for at, data in said if float(at) >= since
    ]


def wait_until_heard(
    listener: Program, heard: list[int], unheard: int | None = None, since: float = 0.0
) -> None:
    """Wait until these tones, and not that other one, were heard for half a second."""
    end, level, count = time.monotonic() + LIMIT, {}, 0
    tones = [*heard, *([] if unheard is None else [unheard])]
    while time.monotonic() < end:
        latest = [samples for _, samples in packets(listener, max(since, time.monotonic() - 0.5))]
        count = len(latest)
        if count >= 20:
            level = levels(np.concatenate(latest), RATE, tones)
            if all((level[tone] > HEARD) == (tone in heard) for tone in tones) and (
                unheard is None or level[unheard] < UNHEARD
            ):
                return
        time.sleep(0.02)
    raise AssertionError(f"{heard} Hz not heard: {count} packets, {level} dB")


@pytest.mark.interop("ffmpeg", "iproute2", "etcd-server")
@pytest.mark.parametrize("standby", [False, True], ids=["another is started", "one stands by"])
def test_phones_on_one_machine_hear_each_other_by_a_mixer_on_another(
    standby: bool, tmp_path: Path
) -> None:
    with network(machines=1) as net, etcd(net.hub, tmp_path) as registry:
        far, near = net.hub, net.others[0]
        mixer = far.python(*example("remote_mixer", "mixer", registry, far.address)[1:])
        parties = ["anna:5004", f"bert:5006:{near.address}:6006", f"carl:5008:{near.address}:6000"]
        edge = near.python(*example("remote_mixer", "edge", registry, near.address, *parties)[1:])
        listen = near.python("-m", "tests.pipes.rtp_listener", near.address)
        with (
            running(mixer) as first,
            running(edge) as phones,
            running([*listen, "6000"]) as carl,
            running([*listen, "6006"]) as bert,
            running(saying(near, TONES["anna"], 5004)),
            running(saying(near, TONES["bert"], 5006)),
        ):
            for program, said in ((first, "is up"), (phones, "is up"), (carl, "listening")):
                program.wait_for(said)
            wait_until_heard(carl, list(TONES.values()))
            wait_until_heard(bert, [TONES["anna"]], TONES["bert"])

            with running(mixer if standby else ["true"]) as second:
                if standby:
                    time.sleep(1.5)  # it says nothing before its time has come
                    assert not second.lines
                killed = time.monotonic()
                assert first.end(signal.SIGKILL) == -signal.SIGKILL
                silent_from = killed + 0.3
                with running(["true"] if standby else mixer):
                    wait_until_heard(carl, list(TONES.values()), since=silent_from)
                    wait_until_heard(bert, [TONES["anna"]], TONES["bert"], since=silent_from)
                    back = next(
                        at
                        for at, samples in packets(carl, silent_from)
                        if np.abs(samples).max() > 1000
                    )
                    assert phones.end() == 0
            assert not any("Traceback" in line for line in phones.lines), phones.lines
            print(f"\nstandby {standby}: sound is back {back - killed:.2f} s after kill -9")
            assert 0.3 < back - killed < 10
