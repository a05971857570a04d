"""What a run of the benchmarks found: plain data, which is also the JSON that it writes."""

import os
import platform
from pathlib import Path
from statistics import median

import msgspec

BUSY = 0.5  # tasks a core


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A subject beside one baseline: the figures of each round, in the order of the rounds."""

    name: str
    unit: str  # of the figures of both
    subject: list[float]
    baseline_name: str
    baseline: list[float]
    goal: float | None = None  # the ratio is to be at most this
    dear: bool = False  # it ran in processes of its own

    @property
    def subject_median(self) -> float:
        """The subject's figure."""
        return median(self.subject)

    @property
    def baseline_median(self) -> float:
        """The baseline's figure."""
        return median(self.baseline)

    @property
    def ratios(self) -> list[float]:
        """Subject / baseline, within each round."""
        return [a / b for a, b in zip(self.subject, self.baseline, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        return None if self.goal is None else self.ratio <= self.goal


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies at one load, from the time an event was due until its handler began."""

    name: str
    candidate: str
    load: float  # share of saturation, 0..1
    rate: float  # events a second that were due
    count: int  # events
    p50: float  # ns, as all that follow
    p90: float
    p99: float
    p999: float
    max: float
    curve: list[tuple[float, float]]  # percentile 0..100, ns
    tails: list[float]  # p99 / p50, of each round
    goal: float | None = None  # the median of p99 / p50 is to be at most this

    @property
    def tail(self) -> float:
        """p99 / p50: the median over the rounds."""
        return median(self.tails)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        return None if self.goal is None else self.tail <= self.goal


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of something, without a baseline in time."""

    name: str
    bytes: float
    baseline_name: str
    baseline: float  # bytes
    goal: float  # bytes, at most

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.bytes <= self.goal


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What has a goal of its own rather than a baseline: the figures of each round."""

    name: str
    unit: str
    values: list[float]
    goal: float | None = None  # the median is to be at most this
    at_least: bool = False  # rather: at least

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Point(msgspec.Struct, frozen=True):
    """One size of a curve."""

    x: float
    y: float  # ns, the least of the rounds


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How the cost of a unit changes with a size."""

    name: str
    candidate: str
    size: str  # what x counts
    points: list[Point]


class Skip(msgspec.Struct, frozen=True):
    """A file that was not run, and why."""

    name: str
    why: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran, as far as it matters for reading the figures."""

    python: str
    system: str
    processor: str
    cores: int  # that this process might use
    load: float  # tasks that wanted to run, over the minute before

    @property
    def busy(self) -> bool:
        """Whether others ran there too, so that the figures are not to be quoted."""
        return self.load > BUSY * self.cores

    @classmethod
    def this(cls) -> "Machine":
        """The one that we run on, now."""
        return cls(
            python=f"{platform.python_implementation()} {platform.python_version()}",
            system=f"{platform.system()} {platform.release()}",
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            load=os.getloadavg()[0],
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run."""

    machine: Machine
    quick: bool
    comparisons: list[Comparison] = []
    percentiles: list[Percentiles] = []
    curves: list[Curve] = []
    sizes: list[Size] = []
    figures: list[Figure] = []
    skipped: list[Skip] = []

    @property
    def missed(self) -> bool:
        """Whether any goal was."""
        verdicts = [
            *(line.met for line in self.comparisons),
            *(line.met for line in self.percentiles),
            *(line.met for line in self.sizes),
            *(line.met for line in self.figures),
        ]
        return False in verdicts


def save(report: Report, path: Path) -> None:
    """Write it as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def load(path: Path) -> Report:
    """Read what ``save`` wrote.

    Raises:
        OSError: the file cannot be read.
        msgspec.ValidationError, msgspec.DecodeError: it is no report.
    """
    return msgspec.json.decode(path.read_bytes(), type=Report)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
