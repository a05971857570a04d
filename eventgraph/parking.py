"""ParkedTask: one task that sleeps until it is wanted.

trio's Event and ParkingLot do this for many tasks at a time; for exactly one, the
scheduler's own two calls are enough and cost a third. It is on the path of every lone
event: parked dispatcher, one delivery, handler.
"""

from collections.abc import Callable

import trio

reschedule = trio.lowlevel.reschedule


class ParkedTask:
    """Where one task may park; ``unpark`` when nobody is there does nothing."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None

    async def park(self, on_cancel: Callable[[], object] | None = None) -> None:
        """Sleep until ``unpark``.

        Args:
            on_cancel: called in the same step as a cancellation takes effect, so that
                nobody can hand anything over to a task that will not know.
        """

        def leave(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.task = None
            if on_cancel is not None:
                on_cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        self.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(leave)

    def unpark(self) -> None:
        """Let the parked task go on in the scheduler's next round."""
        task = self.task
        if task is not None:
            self.task = None
            reschedule(task)
