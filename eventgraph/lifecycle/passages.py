"""Passages: who waits for a state of a node, until it is entered or never will be."""

from __future__ import annotations

import trio

from eventgraph.lifecycle.state import LifecycleState


class _Passage:
    __slots__ = ("entered", "over")

    def __init__(self) -> None:
        self.entered = False
        self.over = trio.Event()


class Passages:
    """One for each state that somebody waits for."""

    __slots__ = ("_closed", "_open")

    def __init__(self) -> None:
        self._open: dict[LifecycleState, _Passage] = {}
        self._closed = False

    def enter(self, state: LifecycleState) -> None:
        """The node is in this state: let those go on who wait for it."""
        passage = self._open.pop(state, None)
        if passage is not None:
            passage.entered = True
            passage.over.set()

    def close(self) -> None:
        """The node has left: it will be in no other state."""
        self._closed = True
        for passage in self._open.values():
            passage.over.set()

    async def wait(self, state: LifecycleState) -> bool:
        """Wait for a state to be entered; False: it will not be."""
        passage = self._open.setdefault(state, _Passage())
        if not self._closed:
            await passage.over.wait()
        return passage.entered
