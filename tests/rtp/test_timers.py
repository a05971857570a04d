"""The timers of all sessions, in one task; on a virtual clock."""

import logging

import pytest
import trio
import trio.testing

from rtp.timers import BATCH, GRAIN, Timers


class Owner:
    """Records when it was called."""

    def __init__(self, *following: float | None) -> None:
        self.calls: list[float] = []
        self._following = list(following)

    def handle_timer(self, now: float) -> float | None:
        self.calls.append(now)
        return self._following.pop(0) if self._following else None


async def test_owners_are_called_when_due_and_again_when_they_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    timers = Timers(trio.current_time)
    early, late = Owner(7.0, None), Owner()
    timers.set(late, 5.0)
    timers.set(early, 2.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        await trio.sleep(10)
        assert early.calls == pytest.approx([2, 7], abs=2 * GRAIN)
        assert late.calls == pytest.approx([5], abs=2 * GRAIN)
        assert len(timers) == 0
        timers.set(late, 12.0)  # while the task sleeps with nothing to do
        await trio.sleep(5)
        assert late.calls[1] == pytest.approx(12, abs=2 * GRAIN)
        nursery.cancel_scope.cancel()


async def test_new_time_replaces_the_old_one(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers(trio.current_time)
    owner, cancelled = Owner(), Owner()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.set(owner, 5.0)
        timers.set(cancelled, 5.0)
        await trio.sleep(1)
        timers.set(owner, 2.0)
        timers.set(cancelled, None)
        timers.set(cancelled, None)
        await trio.sleep(10)
        assert owner.calls == pytest.approx([2], abs=2 * GRAIN)
        assert cancelled.calls == []
        nursery.cancel_scope.cancel()


def test_a_run_is_bounded_and_goes_by_time() -> None:
    timers = Timers(lambda: 0.0)
    owners = [Owner() for _ in range(BATCH + 3)]
    for i, owner in enumerate(owners):
        timers.set(owner, -float(i))
    timers.run_due(0.0)
    assert [bool(owner.calls) for owner in owners] == [False] * 3 + [True] * BATCH
    timers.run_due(0.0)
    assert all(owner.calls for owner in owners)


def test_owner_that_raises_is_logged_and_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Owner):
        def handle_timer(self, now: float) -> float | None:
            raise RuntimeError("mine")

    timers = Timers(lambda: 0.0)
    healthy = Owner()
    timers.set(Broken(), -2.0)
    timers.set(healthy, -1.0)
    with caplog.at_level(logging.ERROR, "rtp"):
        timers.run_due(0.0)
    assert len(caplog.records) == 1
    assert healthy.calls == [0.0]
    assert len(timers) == 0
