"""The benchmarks: their results are checked here, their figures are not."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.measure import Case, VerificationError, compare, verify
from benchmarks.result import load, save
from benchmarks.suite import QUICK, TOPOLOGIES

BENCH = [sys.executable, "-m", "benchmarks"]
LIMIT = 120  # seconds


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT, check=False
    )


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_each_topology_accounts_for_every_event(name: str) -> None:
    for case in TOPOLOGIES[name].cases(QUICK.events):
        for measure in (case.subject, *case.baselines.values()):
            assert measure() > 0


def test_subject_and_baselines_run_in_turns() -> None:
    calls: list[str] = []

    def candidate(name: str, figure: float) -> float:
        calls.append(name)
        return figure

    case = Case(
        "turns",
        lambda: candidate("A", 1.0),
        {"b": lambda: candidate("B", 2.0), "c": lambda: candidate("C", 4.0)},
        {"b": 0.5},
    )
    half, quarter = compare(case, 3)
    assert "".join(calls) == "ABC" + "CBA" + "ABC" + "CBA"
    assert (half.ratios, half.met) == ([0.5] * 3, True)
    assert (quarter.ratios, quarter.met) == ([0.25] * 3, None)


def test_a_wrong_result_says_what_was_wrong() -> None:
    with pytest.raises(VerificationError, match="handled: 9, not 10"):
        verify("handled", 9, 10)


def test_a_run_is_written_and_compared(tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    done = bench("--quick", "--only", "one_hop", "--json", first)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<= 0.32" in done.stdout
    report = load(first)
    assert "asyncio.Queue" in {line.baseline_name for line in report.comparisons}

    # As if we had been a thousand times as fast once: past all noise of two short rounds.
    faster = [
        msgspec.structs.replace(line, subject=[ns / 1000 for ns in line.subject])
        for line in report.comparisons
    ]
    save(msgspec.structs.replace(report, comparisons=faster), first)
    done = bench("--quick", "--only", "one_hop", "--compare", first)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "slower against all baselines: one hop" in done.stdout
    done = bench("--only", "one_hop", "--compare", first)
    assert done.returncode == 2
    assert "is quick, the other is not" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--only", "two_hops"), "no benchmark is called two_hops"),
        (("--compare", __file__), "no report that --json wrote"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    arguments: tuple[str, ...], why: str
) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert why in done.stderr
