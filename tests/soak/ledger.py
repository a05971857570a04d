"""What a soak did and found; every loss is entered with its reason, or it is unexplained."""

from collections import Counter

from rtp.server.footprint import Footprint


class Ledger:
    """Filled in as a soak goes on.

    Attributes:
        load: how much went through, by what.
        faults: injected, by kind.
        bad_inputs: tried, by kind.
        explained: what was lost, by reason.
        unexplained: what was lost, or was there too often, by where; each is a failure.
        complaints: whatever else is wrong, a line each.
        checks: that found nothing, by kind.
        before, after: of processes, by name.
    """

    def __init__(self) -> None:
        self.load: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.bad_inputs: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()
        self.unexplained: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.checks: Counter[str] = Counter()
        self.before: dict[str, Footprint] = {}
        self.after: dict[str, Footprint] = {}
        self.shared_before: list[str] = []
        self.shared_after: list[str] = []

    def check(self, kind: str, complaint: str | None) -> None:
        """A check was made; the complaint says what is wrong, None that nothing is."""
        if complaint is None:
            self.checks[kind] += 1
        else:
            self.complaints.append(f"{kind}: {complaint}")

    def same(self, where: str, one: int, other: int) -> bool:
        """Two counts of the same events; a difference is unexplained. Whether there is none."""
        if one == other:
            self.checks["sums"] += 1
        else:
            self.unexplained[where] += abs(one - other)
        return one == other

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.complaints or +self.unexplained)
