"""How a person ends the server: SIGINT (Ctrl-C) and SIGTERM.

trio's own answer to Ctrl-C is a `KeyboardInterrupt` in whatever runs just then, which could
be a node's hook. Here a signal only sets an event, in the event loop. No task waits for
signals, so that errors of the server do not come out of a nursery, wrapped in groups.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import trio

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Asked once: leave in an orderly way. Asked again: leave now.

    Attributes:
        wanted: set by the first signal.
        patience: cancelled by the second; put inside what waits for others to leave.
        hurry: cancelled by the second too, but if sessions are waited for only by the third; put
            what drains inside.
        waiting: whether sessions are waited for.
    """

    def __init__(self) -> None:
        self.wanted = trio.Event()
        self.patience = trio.CancelScope()
        self.hurry = trio.CancelScope()
        self.waiting = False

    def ask(self) -> None:
        """A signal came."""
        if self.waiting and not self.patience.cancel_called:
            self.patience.cancel()
        elif self.wanted.is_set():
            self.hurry.cancel()
        self.wanted.set()


@contextmanager
def ending_by_signal() -> Iterator[Ending]:
    """Signals ask for the end as long as this is entered; then they do what they did before."""
    token = trio.lowlevel.current_trio_token()
    ending = Ending()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        token.run_sync_soon(ending.ask)

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
