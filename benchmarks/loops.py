"""The event loops that baselines run on."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

import uvloop

from benchmarks.measure import Measure

Main = Callable[..., Coroutine[object, object, float]]


def on_asyncio(main: Main, *args: object) -> float:
    """Run to the end on the standard library's loop."""
    return asyncio.run(main(*args))


def on_uvloop(main: Main, *args: object) -> float:
    """Run to the end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main(*args))


def both_loops(main: Main, *args: object) -> dict[str, Measure]:
    """The same baseline of asyncio.Queue on each of the two loops."""
    return {
        "asyncio.Queue": partial(on_asyncio, main, *args),
        "the same, uvloop": partial(on_uvloop, main, *args),
    }
