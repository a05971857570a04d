"""Percentiles are those of the latencies, to three digits."""

import random

import pytest

from benchmarks.histogram import LONGEST, Recording


def test_percentiles_are_those_of_all_rounds() -> None:
    latencies = list(range(1, 100_001))
    random.Random(1).shuffle(latencies)
    recording = Recording()
    for begin in range(0, 100_000, 20_000):
        recording.add_round(latencies[begin : begin + 20_000])
    found = recording.result("x", "y", 0.5, 1000.0, None)
    assert found.count == 100_000
    for got, wanted in (
        (found.p50, 50_000),
        (found.p90, 90_000),
        (found.p99, 99_000),
        (found.p999, 99_900),
        (found.max, 100_000),
    ):
        assert got == pytest.approx(wanted, rel=0.002)
    assert found.tails == pytest.approx([99 / 50] * 5, rel=0.05)
    assert [ns for _, ns in found.curve] == sorted(ns for _, ns in found.curve)


def test_what_lies_outside_the_histogram_counts_as_its_end() -> None:
    recording = Recording()
    recording.add_round([0, 10 * LONGEST])
    found = recording.result("x", "y", 0.5, 1000.0, None)
    assert found.count == 2
    assert found.p50 == 1
    assert found.max == pytest.approx(LONGEST, rel=0.002)
