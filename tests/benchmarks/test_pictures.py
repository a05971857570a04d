"""The pictures and the page of a report."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks import page, pictures
from benchmarks.result import Comparison, Curve, Figure, Machine, Percentiles, Point, Report, Size

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = {
    "ratios",
    "ratios-between-processes",
    "cost-bytes-of-payload",
    "latency-one-hop",
    "latency-chain-of-10",
    "cost-nodes-in-a-row",
    "throughput-nodes-in-a-row",
}


def percentiles(name: str, candidate: str, load: float) -> Percentiles:
    return Percentiles(
        name=name,
        candidate=candidate,
        load=load,
        rate=1e6,
        count=1000,
        p50=1e3,
        p90=2e3,
        p99=3e3,
        p999=4e3,
        max=5e3,
        curve=[(0.0, 500.0), (50.0, 1e3), (90.0, 2e3), (99.0, 3e3), (99.999, 5e3)],
        tails=[3.0, 2.9],
        goal=2.0,
    )


@pytest.fixture
def report() -> Report:
    line = Comparison(
        name="<one> & hop",
        unit="ns",
        subject=[160.0, 170.0],
        baseline_name="asyncio.Queue",
        baseline=[500.0, 480.0],
        goal=0.4,
    )
    return Report(
        machine=Machine.this(),
        quick=True,
        comparisons=[
            line,
            msgspec.structs.replace(line, name="a frame", baseline_name="bare ring", dear=True),
        ],
        percentiles=[
            percentiles(name, candidate, load)
            for name in ("one hop", "chain of 10")
            for load in (0.1, 0.95)
            for candidate in ("eventgraph", "asyncio.Queue")
        ],
        curves=[
            Curve(
                name="a hop",
                candidate=candidate,
                size="nodes in a row",
                points=[Point(1, 200.0), Point(10, 150.0)],
            )
            for candidate in ("eventgraph", "asyncio.Queue")
        ]
        + [
            Curve(
                name="an event",
                candidate=candidate,
                size="bytes of payload",
                points=[Point(100, cost), Point(1000, 10 * cost)],
            )
            for candidate, cost in (("in the process", 200.0), ("by pipe", 9000.0))
        ],
        figures=[
            Figure(name="streams", unit="streams", values=[2100, 2200], goal=2000, at_least=True)
        ],
        sizes=[Size(name="a node", bytes=2700, baseline_name="task", baseline=4200, goal=3000)],
    )


def test_each_picture_is_written_as_svg_and_png(report: Report, tmp_path: Path) -> None:
    pictures.write(report, tmp_path / "new")
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert set(written) == {f"{name}.{form}" for name in NAMES for form in ("svg", "png")}
    for name, data in written.items():
        if name.endswith(".png"):
            assert data.startswith(PNG)
        else:
            assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_report_makes_the_same_picture(report: Report) -> None:
    first, second = (
        {name: pictures.render(figure, "svg") for name, _, figure in pictures.pictures(report)}
        for _ in range(2)
    )
    assert first == second


def test_the_page_needs_nothing_else(report: Report) -> None:
    text = page.page(report)
    assert text.count("<svg") == len(NAMES)
    assert not re.search(r'<(script|link|img|iframe)|url\((?!#)|(src|href)="(?!#)', text)


def test_the_page_says_what_was_met_and_missed(report: Report) -> None:
    text = page.page(report)
    assert "&lt;one&gt; &amp; hop" in text
    assert '<td class="met">≤ 0.4 met</td>' in text
    assert '<td class="met">≤ 3,000 met</td>' in text
    assert text.count('<td class="missed">≤ 2 MISSED</td>') == 8
    assert '<td class="met">≥ 2,000 met</td>' in text
    assert "too short to quote" in text


def test_a_report_with_nothing_in_it_is_a_page_with_no_pictures() -> None:
    text = page.page(Report(machine=Machine.this(), quick=False))
    assert "<svg" not in text
    assert "<table" not in text


def test_what_a_run_measures_by_size_and_load_is_drawn(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "curves", "open_loop"]
    where = ["--html", str(tmp_path / "page.html"), "--pictures", str(tmp_path / "pictures")]
    done = subprocess.run(
        [*command, *where], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "page.html").read_text().count("<svg") == 7
    names = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert names == {
        *("latency-one-hop", "latency-chain-of-10"),
        *("cost-nodes-in-a-row", "throughput-nodes-in-a-row"),
        *("cost-receivers", "throughput-receivers"),
        "cost-idle-nodes-beside-it",
    }
