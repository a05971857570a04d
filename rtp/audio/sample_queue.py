"""SampleQueue: sound goes in by pieces of any length and comes out by others."""

from collections import deque

import numpy as np

from ..media import Samples


class SampleQueue:
    """A FIFO of samples; bounded by whoever puts, who looks at its length first."""

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self._length = 0

    def __len__(self) -> int:
        """Samples that wait."""
        return self._length

    def put(self, samples: Samples) -> None:
        """Add samples (flat, int16), which are not copied."""
        if len(samples):
            self._pieces.append(samples)
            self._length += len(samples)

    def take(self, count: int) -> Samples:
        """Remove the oldest `count` samples, or as many as there are."""
        taken: list[Samples] = []
        missing = count = min(count, self._length)
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            missing -= len(piece)
            taken.append(piece)
        self._length -= count
        if len(taken) == 1:
            return taken[0]
        return np.concatenate(taken) if taken else np.zeros(0, np.int16)

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()
        self._length = 0
