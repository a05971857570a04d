"""Options of the balancer by load, each with its unit and bounds, checked when it is made."""

from typing import Final

import msgspec

from eventgraph.flows.errors import FlowOptionError

MIN_BAND: Final = 0.05  # of a machine; what noise crosses easily is no hysteresis
MIN_MARGIN: Final = 0.01  # of a machine; a move has its price, so it must be worth something
MAX_TIME: Final = 86_400.0  # seconds; who wants to wait for longer wants no balancing


class LoadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a client is moved, and when it is not. Shares are of a machine's cores.

    Attributes:
        high: share; who is busier is overloaded.
        low: share; a target stays at or below it, with the peaks of what it takes over.
        margin: share by which a move makes the busier of both less busy.
        overload_time: seconds that an overload has lasted before anything is moved.
        window: seconds in which a target's use and a client's need count with their peak; a
            target has been watched for as long.
        settling: seconds after a move in which its two machines take and give nothing: until
            what was measured shows it.
        residence: seconds that a client stays where it is, at least.
        return_time: seconds in which a client is not sent again to a machine that it left, or
            to which a move was tried; and in which a machine that was overloaded takes nothing.
    Raises:
        FlowOptionError: a bound is not kept, or two of them contradict each other.
    """

    high: float = 0.85
    low: float = 0.65
    margin: float = 0.05
    overload_time: float = 20.0
    window: float = 120.0
    settling: float = 30.0
    residence: float = 120.0
    return_time: float = 600.0

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < 1 and self.high - self.low >= MIN_BAND):
            raise FlowOptionError(
                f"low {self.low} and high {self.high} must be shares of a machine "
                f"between 0 and 1, low below high by at least {MIN_BAND}"
            )
        if not MIN_MARGIN <= self.margin <= 0.5:
            raise FlowOptionError(f"margin is {self.margin}; it must be {MIN_MARGIN} to 0.5")
        for name in ("overload_time", "window", "settling", "residence", "return_time"):
            value = getattr(self, name)
            if not 1 <= value <= MAX_TIME:
                raise FlowOptionError(f"{name} is {value} s; it must be 1 to {MAX_TIME:.0f}")
        if not self.settling <= self.residence <= self.return_time:
            raise FlowOptionError(
                f"settling {self.settling} s, residence {self.residence} s and return_time "
                f"{self.return_time} s must not fall, in this order"
            )
