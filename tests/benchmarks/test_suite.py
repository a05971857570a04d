"""The benchmarks: their results are checked here, their figures are not."""

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks import page
from benchmarks.measure import Case, VerificationError, compare, verify
from benchmarks.quantity import duration
from benchmarks.real_time import patiently
from benchmarks.result import load, save
from benchmarks.suite import QUICK, TOPOLOGIES, run
from benchmarks.table import show

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


def test_what_is_dear_does_not_warm_up() -> None:
    calls: list[str] = []

    def candidate(name: str) -> float:
        calls.append(name)
        return 1.0

    compare(Case("dear", lambda: candidate("A"), {"b": lambda: candidate("B")}, dear=True), 2)
    assert "".join(calls) == "BA" + "AB"


def test_a_file_whose_extra_is_missing_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("benchmarks.pipe_batch", "benchmarks.pipe_ends"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "pynng", None)
    report = run(["pipe_batch"], quick=True, progress=lambda *_: None)
    assert report.comparisons == []
    (skip,) = report.skipped
    assert skip.name == "pipe_batch"
    assert skip.why == "pynng is not installed; try: pip install -e '.[pipes,zmq]'"
    printed = io.StringIO()
    show(report, Console(file=printed, width=200))
    assert f"skipped: pipe_batch: {skip.why}" in printed.getvalue()
    assert "Skipped: pipe_batch: pynng is not installed" in page.page(report)


@pytest.mark.parametrize(("failures", "tries"), [(0, 1), (2, 3), (3, 3)])
def test_what_is_in_real_time_is_wrong_when_it_is_wrong_each_time(
    failures: int, tries: int
) -> None:
    tried = 0

    @patiently
    def measure(figure: float) -> float:
        nonlocal tried
        tried += 1
        verify("frames", tried <= failures, False)
        return figure

    if failures < 3:
        assert measure(7.0) == 7.0
    else:
        with pytest.raises(VerificationError):
            measure(7.0)
    assert tried == tries


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (57.4, "57.4 ns"),
        (165, "165 ns"),
        (999.4, "999 ns"),
        (999.6, "1.00 µs"),
        (3_410, "3.41 µs"),
        (12_900_000, "12.9 ms"),
        (2.5e9, "2.50 s"),
        (0.04, "0.0 ns"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit_that_fits(ns: float, text: str) -> None:
    assert duration(ns) == text


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
