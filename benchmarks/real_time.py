"""Media in real time on a machine that others use too.

Where a process gets no core for half a second, a jitter buffer runs dry and frames are left out:
that is what they are to do, and no wrong result. So what is in real time may be measured again.
What is wrong each time is wrong.
"""

from collections.abc import Callable
from typing import Final, ParamSpec

from benchmarks.measure import VerificationError

ATTEMPTS: Final = 3

P = ParamSpec("P")


def patiently(measure: Callable[P, float]) -> Callable[P, float]:
    """The same, at most three times, until it verifies."""

    def again(*args: P.args, **kwargs: P.kwargs) -> float:
        for _ in range(ATTEMPTS - 1):
            try:
                return measure(*args, **kwargs)
            except VerificationError:
                pass
        return measure(*args, **kwargs)

    return again
