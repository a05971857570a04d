"""PacedNode: a node that has a frame to make every so many samples."""

from typing import Final

import trio

from eventgraph import Event, Node, NodeDelegate

_TICK: Final = -1
"""An event to oneself: the next frame. Between two of them other events have their turn."""


class PacedNode(Node):
    """Calls `on_frame` at the time at which the sound of each frame begins.

    Deadlines are absolute, because what sleeps of one frame each are late by would add up. A
    frame that is late is made at once, and the next ones catch up. After a stall of more than
    `resync_after` seconds (the machine slept, a hook hogged the thread) the frames in between
    are left out: their numbers are jumped over, and the node is in time again.

    Attributes:
        sample_rate: Hz.
        frame_samples: samples in a frame.
        frame_number: of the frame to be made, from 0.
        frames_skipped: left out after stalls.
        stalls: how often that happened.
        paced: set to False, it asks for no more frames.
    """

    def __init__(
        self, scope: str, name: str, *, sample_rate: int, frame_duration: float, resync_after: float
    ) -> None:
        """
        Args:
            sample_rate: Hz.
            frame_duration: seconds; a whole number of samples.
            resync_after: seconds that a frame may be late by.
        Raises:
            ValueError: an option is out of range.
        """
        samples = round(sample_rate * frame_duration)
        if samples < 1 or abs(samples - sample_rate * frame_duration) > 1e-6:
            raise ValueError(
                f"frame_duration is {frame_duration} s: not a whole number of samples "
                f"at {sample_rate} Hz"
            )
        if not resync_after >= 0:
            raise ValueError(f"resync_after is {resync_after} s: it must not be negative")
        super().__init__(scope, name)
        self.sample_rate = sample_rate
        self.frame_samples = samples
        self.frame_number = 0
        self.frames_skipped = 0
        self.stalls = 0
        self.paced = True
        self._resync_after = resync_after
        self._ticking = False

    @property
    def first_sample(self) -> int:
        """Of the frame to be made; its timestamp."""
        return self.frame_number * self.frame_samples

    @property
    def due(self) -> float:
        """When the sound of the frame to be made begins, in seconds of trio's clock."""
        return self._start + self.first_sample / self.sample_rate

    async def on_frame(self) -> None:
        """Make the frame that is due."""

    def on_input(self, event: Event) -> None:
        """An event came that is not the node's own."""

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._start = trio.current_time()
        self._ticking = delegate.deliver_self(Event(_TICK))

    async def on_event(self, event: Event) -> None:
        if event.cmd == _TICK:
            await self._wait_and_make()
            self._ticking = False
        else:
            self.on_input(event)
        if self.paced and not self._ticking:  # if others have filled the channel: after theirs
            self._ticking = self._delegate.deliver_self(Event(_TICK))

    async def _wait_and_make(self) -> None:
        if trio.current_time() < self.due:
            await trio.sleep_until(self.due)
        else:  # a sleep that is over at once costs ten times as much
            await trio.lowlevel.checkpoint()
        late = trio.current_time() - self.due
        if late > self._resync_after:
            skipped = int(late * self.sample_rate / self.frame_samples)
            self.stalls += 1
            self.frames_skipped += skipped
            self.frame_number += skipped
        await self.on_frame()
        self.frame_number += 1
