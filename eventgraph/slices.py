"""Steps: work that may pause wherever it yields, so that it need not hold the loop all the while.

Done at once it is of one instant. Done in slices it is not: the dispatcher has its turns in
between, and what is looked at may change, come and go. So whoever writes steps says what still
holds then.
"""

from collections.abc import Generator
from time import perf_counter
from typing import TypeVar

import trio

from eventgraph.dispatch import SLICE

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields wherever it may pause; what it returns is the result."""


def at_once(steps: Steps[T]) -> T:
    """Do all of it."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


async def in_slices(steps: Steps[T]) -> T:
    """Do it, and let others have their turn whenever a `SLICE` is over."""
    end = perf_counter() + SLICE
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if perf_counter() > end:
            await trio.lowlevel.checkpoint()
            end = perf_counter() + SLICE
