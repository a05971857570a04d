"""What clients take and how busy the machine is: real processes, and the kernel's own clocks.

A process's clock (clock_getcpuclockid) is the witness: other work on the machine slows both.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventgraph.flows import balancing
from eventgraph.flows.balancing import LoadMeter, measurement
from eventgraph.flows.balancing.cores import CoreMeter
from eventgraph.flows.balancing.processes import Processes
from eventgraph.flows.errors import FlowOptionError

# Who burns ends with its parent.
BURN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
SLEEP = "import sys; print(flush=True); sys.stdin.readline()"
# A parent that does nothing, with a child that burns, until it is told to end it.
FAMILY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {BURN!r}])
print(child.pid, flush=True)
sys.stdin.readline()
child.kill(); child.wait()
print("alone", flush=True)
sys.stdin.readline()
"""
Spawn = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Programs in Python, killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", program], stdin=pipe, stdout=pipe, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def tell(process: "subprocess.Popen[str]") -> None:
    """Let its readline return."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def cpu_clock(pid: int) -> float:
    """Seconds of processor time of a process, by the clock that the kernel has of it."""
    return time.clock_gettime((~pid << 3) | 2)


def burn_until(pid: int, seconds: float) -> None:
    """Wait until the process has used that much more."""
    end = cpu_clock(pid) + seconds
    deadline = time.monotonic() + 60
    while cpu_clock(pid) < end:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_need_is_what_the_process_used_between_two_calls(spawn: Spawn) -> None:
    sleeper = spawn(SLEEP)
    answer(sleeper)
    busy, idle = spawn(BURN).pid, sleeper.pid
    clients = {"busy": busy, "idle": idle}
    meter = LoadMeter(time_constant=1e-3)  # no memory: each interval by itself
    burn_until(busy, 0.2)
    meter.measure(clients)
    began, used = time.monotonic(), cpu_clock(busy)
    burn_until(busy, 1.0)
    needs = meter.measure(clients).needs
    used, elapsed = cpu_clock(busy) - used, time.monotonic() - began
    assert needs["busy"] == pytest.approx(used / elapsed, abs=0.05)
    assert needs["idle"] <= 0.02


def test_children_count_while_they_live(spawn: Spawn) -> None:
    family = spawn(FAMILY)
    child = int(answer(family))
    meter = LoadMeter(time_constant=1e-3)
    clients = {"family": family.pid}
    burn_until(child, 0.3)
    meter.measure(clients)
    began, used = time.monotonic(), cpu_clock(child)
    burn_until(child, 0.5)
    need = meter.measure(clients).needs["family"]
    expected = (cpu_clock(child) - used) / (time.monotonic() - began)
    assert need == pytest.approx(expected, abs=0.05)
    apart = {"family": family.pid, "child": child}  # a child that is a client, by itself
    began, used = time.monotonic(), cpu_clock(child)
    burn_until(child, 0.5)
    needs = meter.measure(apart).needs
    expected = (cpu_clock(child) - used) / (time.monotonic() - began)
    assert needs["family"] <= 0.02
    assert needs["child"] == pytest.approx(expected, abs=0.05)
    tell(family)
    assert answer(family) == "alone"
    time.sleep(measurement.MIN_INTERVAL)
    needs = meter.measure(clients).needs
    assert needs == {"family": pytest.approx(0.0, abs=0.1)}


def test_process_that_is_gone_is_not_in_the_result(spawn: Spawn) -> None:
    process = spawn(SLEEP)
    answer(process)
    meter = LoadMeter()
    assert set(meter.measure({"it": process.pid, "never": 2**22 + 1}).needs) == {"it"}
    tell(process)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now: its pid is taken
    assert process.pid not in Processes().by_pid
    time.sleep(measurement.MIN_INTERVAL)
    assert meter.measure({"it": process.pid}).needs == {}
    process.wait()
    time.sleep(measurement.MIN_INTERVAL)
    assert meter.measure({"it": process.pid}).needs == {}
    assert meter._clients == {}


def test_process_that_just_started_is_measured_by_its_own_age(spawn: Spawn) -> None:
    """Half a second at full power is no tenth of a core, however long the interval was."""
    meter = LoadMeter()
    time.sleep(1.0)
    before = time.monotonic()
    busy = spawn(BURN).pid
    after = time.monotonic()
    burn_until(busy, 0.5)
    need = meter.measure({"busy": busy}).needs["busy"]
    used, now = cpu_clock(busy), time.monotonic()
    assert used / (now - before) - 0.05 <= need <= used / (now - after) + 0.05


def test_average_forgets_exponentially(spawn: Spawn) -> None:
    """After one time constant of rest, 37 % of what was measured before is left."""
    process = spawn(FAMILY)
    child = int(answer(process))
    meter = LoadMeter(time_constant=0.5)
    burn_until(child, 0.5)
    before = meter.measure({"it": process.pid}).needs["it"]
    tell(process)
    assert answer(process) == "alone"
    at = meter._at
    time.sleep(0.5)
    after = meter.measure({"it": process.pid}).needs["it"]
    passed = meter._at - at
    assert after == pytest.approx(before * math.exp(-passed / 0.5), rel=0.1, abs=0.02)


def test_call_too_soon_gives_the_averages_of_before(spawn: Spawn) -> None:
    pid = spawn(BURN).pid
    meter = LoadMeter()
    burn_until(pid, 0.2)
    first = meter.measure({"it": pid})
    at = meter._at
    second = meter.measure({"it": pid, "other": os.getpid()})
    if meter._at == at:  # unless this test itself was held up
        assert second == first
        assert meter.measure({"it": os.getpid()}).needs == {}


def test_machine_counts_what_everything_takes_and_the_cores_allowed(spawn: Spawn) -> None:
    allowed = os.sched_getaffinity(0)
    pid = spawn(BURN).pid
    meter = LoadMeter(time_constant=1e-3)
    meter.measure({})
    began, used = time.monotonic(), cpu_clock(pid)
    burn_until(pid, 1.0)
    measured = meter.measure({})
    expected = (cpu_clock(pid) - used) / (time.monotonic() - began)
    assert measured.cores == len(allowed)
    assert expected - 0.1 <= measured.busy <= measured.cores
    one = min(allowed)
    os.sched_setaffinity(0, {one})
    try:
        time.sleep(measurement.MIN_INTERVAL)
        changed = meter.measure({})
        assert changed.cores == 1
        assert changed.busy <= 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """The group of this process in a tree of groups, files as the kernel writes them."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = tmp_path / path.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    return group


def write_group(group: Path, limit: str, used: float) -> None:
    (group / "cpu.max").write_text(f"{limit}\n")
    (group / "cpu.stat").write_text(
        f"usage_usec {int(used * 1e6)}\nuser_usec 1\nsystem_usec 1\nnr_periods 0\n"
    )


def test_quota_of_a_container_is_the_limit_that_counts(tmp_path: Path, cgroup: Path) -> None:
    write_group(cgroup, "25000 100000", 100.0)
    meter = CoreMeter(tmp_path)
    began = time.monotonic()
    time.sleep(0.5)
    write_group(cgroup, "25000 100000", 100.1)
    cores, busy = meter.measure()
    assert cores == 0.25
    assert 0.1 / (time.monotonic() - began) <= busy <= 0.25
    time.sleep(0.1)
    write_group(cgroup, "25000 100000", 200.0)  # more than there is: not more than all
    assert meter.measure() == (0.25, 0.25)


@pytest.mark.parametrize("limit", ["max 100000", "", "25000", "a b", "25000 0"])
def test_group_without_a_limit_limits_nothing(tmp_path: Path, cgroup: Path, limit: str) -> None:
    write_group(cgroup, limit, 1.0)
    assert CoreMeter(tmp_path).measure().cores == len(os.sched_getaffinity(0))
    assert CoreMeter(tmp_path / "none").measure().cores == len(os.sched_getaffinity(0))


def test_names_of_processes_with_brackets_and_spaces_are_read(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to(sys.executable)
    pipe = subprocess.PIPE
    program = subprocess.Popen([odd, "-S", "-c", SLEEP], stdin=pipe, stdout=pipe, text=True)
    try:
        answer(program)
        assert ") R 1 (" in Path(f"/proc/{program.pid}/comm").read_text()
        found = Processes().by_pid[program.pid]
        assert found.parent == os.getpid()
    finally:
        program.communicate()


def test_nothing_is_kept_of_what_is_gone_and_nothing_stays_open(spawn: Spawn) -> None:
    meter = LoadMeter()
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        process = spawn(SLEEP)
        time.sleep(measurement.MIN_INTERVAL)
        meter.measure({"it": process.pid})
        process.communicate()
    time.sleep(measurement.MIN_INTERVAL)
    meter.measure({})
    assert len(os.listdir("/proc/self/fd")) <= files + 3 * 2  # the pipes of those above
    assert process.pid not in meter._known
    assert meter._clients == {}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_time_constant_must_make_sense(seconds: float) -> None:
    with pytest.raises(FlowOptionError, match="time_constant"):
        balancing.LoadMeter(seconds)
