"""What a soak found, for people."""

from collections.abc import Iterable, Mapping

from tests.soak.ledger import Ledger


def render(ledger: Ledger) -> str:
    """The table, a line each."""
    lines: list[str] = []
    for title, counts in (
        ("load held", ledger.load),
        ("faults injected", ledger.faults),
        ("bad inputs tried", ledger.bad_inputs),
        ("checks that held", ledger.checks),
        ("events lost, explained", ledger.explained),
    ):
        lines += _section(title, counts)
    lines += _section("events lost, unexplained", ledger.unexplained or {"none": 0})
    lines += ["", "resources after the warm-up and at the end"]
    lines += [f"  {'':<22}{'tasks':>14}{'threads':>14}{'fds':>14}{'MB':>18}"]
    for name, before in ledger.before.items():
        after = ledger.after.get(name)
        if after is None:
            continue
        pairs = [
            f"{was} > {is_}"
            for was, is_ in (
                (before.tasks, after.tasks),
                (before.threads, after.threads),
                (before.descriptors, after.descriptors),
                (f"{before.memory / 1e6:.1f}", f"{after.memory / 1e6:.1f}"),
            )
        ]
        lines.append(f"  {name:<22}{pairs[0]:>14}{pairs[1]:>14}{pairs[2]:>14}{pairs[3]:>18}")
    lines.append(f"  /dev/shm: {len(ledger.shared_before)} > {len(ledger.shared_after)} files")
    lines += ["", *(ledger.complaints or ["nothing else to complain about"])]
    lines.append("FAILED" if ledger.failed else "passed")
    return "\n".join(lines) + "\n"


def _section(title: str, counts: Mapping[str, int]) -> Iterable[str]:
    yield ""
    yield title
    for name, count in sorted(counts.items()):
        yield f"  {name:<48}{count:>12,}"
