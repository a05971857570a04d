"""ParkedTask: one task that sleeps until it is wanted.

trio's Event and ParkingLot do this for many tasks at a time; for exactly one, the
scheduler's own two calls are enough and cost a third. It is on the path of every lone
event: parked dispatcher, one delivery, handler.
"""

import trio


class ParkedTask:
    """Where one task may park; ``unpark`` when nobody is there does nothing."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None

    async def park(self) -> None:
        """Sleep until ``unpark``; may be cancelled."""
        self.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def unpark(self) -> None:
        """Let the parked task go on in the scheduler's next round."""
        task = self.task
        if task is not None:
            self.task = None
            trio.lowlevel.reschedule(task)

    def _leave(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED
