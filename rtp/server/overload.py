"""Overload: when new sessions are shed, and when they are taken again.

Pure: samples and the time come in, a decision goes out. It takes several bad samples in a row
to shed, for one is no load but a hiccup, such as a collection of garbage; and a calm time,
clearly below the limit, to take sessions again, as each of them adds to the load.
"""

from typing import Final

from .config import LimitsConfig
from .load import Sample

BAD_SAMPLES: Final = 3
"""In a row, until it is overload."""
CALM_SHARE: Final = 0.7
"""Of a limit, below which it is calm."""


class Overload:
    """The state of the decision.

    Attributes:
        reason: why sessions are shed; empty: they are not.
        latest: the last sample.
        times: how often it began.
    """

    def __init__(self, config: LimitsConfig) -> None:
        self.reason = ""
        self.latest = Sample(0.0, 0.0)
        self.times = 0
        self._config = config
        self._bad = 0
        self._calm_since: float | None = None

    def update(self, sample: Sample, now: float) -> None:
        """Take a sample; `now` is in seconds, of any clock that does not go back."""
        self.latest = sample
        found = self._exceeded(sample, 1.0)
        self._bad = self._bad + 1 if found else 0
        if not self.reason:
            if self._bad >= BAD_SAMPLES:
                self.reason, self._calm_since = found, None
                self.times += 1
            return
        if self._exceeded(sample, CALM_SHARE):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= self._config.calm:
            self.reason = ""

    def _exceeded(self, sample: Sample, share: float) -> str:
        """Which limit, or that share of it, a sample is above; empty: none."""
        lag, cpu = self._config.lag, self._config.cpu
        if lag and sample.lag > lag * share:
            return f"its loop is late by {sample.lag * 1000:.0f} ms"
        if cpu and sample.cpu > cpu * share:
            return f"it keeps {sample.cpu:.2f} processors busy"
        return ""
