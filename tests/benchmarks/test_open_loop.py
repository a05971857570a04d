"""The open loop: a standstill shows in all events that were due meanwhile."""

import time

import pytest

from benchmarks import open_loop
from benchmarks.open_loop import CANDIDATES
from eventgraph import Event

STANDSTILL = 0.05  # seconds


@pytest.mark.parametrize("hops", [1, 10])
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_no_event_is_lost_at_any_rate(candidate: str, hops: int) -> None:
    run = CANDIDATES[candidate]
    assert len(run(hops, 3000, 0.0).latencies) == 3000  # all due at once: refused meanwhile
    paced = run(hops, 1000, 20_000.0)
    assert len(paced.latencies) == 1000
    assert paced.spent >= 999 * 20_000


def test_a_standstill_is_seen_by_all_that_were_due_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, seen = open_loop.Arrival.on_event, 0

    def stand_still_once(self: open_loop.Arrival, event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == 100:
            time.sleep(STANDSTILL)  # a handler that blocks is the point
        handle(self, event)

    monkeypatch.setattr(open_loop.Arrival, "on_event", stand_still_once)
    run = open_loop.through_graph(1, 1000, 100_000.0)  # 10,000 a second
    late = [latency for latency in run.latencies if latency > STANDSTILL * 1e9 / 2]
    # 500 were due in the 50 ms; half of them waited for more than half of it.
    assert len(late) >= 240
