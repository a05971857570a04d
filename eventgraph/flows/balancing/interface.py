"""Load balancing: which client should run on which machine.

Pure decisions: what was measured comes in, moves come out, time is an argument.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import msgspec

from eventgraph.flows.errors import FlowOptionError


class ClientLoad(msgspec.Struct, frozen=True):
    """A client that a server has started.

    Attributes:
        id: of the client; no other has it, on any machine, and it keeps it when it is moved.
        need: processing power that it takes, in cores, averaged over the last period.
        movable: whether it declared that it can be moved.
        since: seconds that it has been running where it is.
    """

    id: str
    need: float
    movable: bool
    since: float


class MachineLoad(msgspec.Struct, frozen=True):
    """A machine with its clients.

    Attributes:
        cores: how many it has.
        busy: of those, how much everything on it takes, in cores; our clients included.
        clients: those of this application and user. While a client moves it may stand at two
            machines, or at none.
    """

    name: str
    cores: float
    busy: float
    clients: tuple[ClientLoad, ...] = ()


class Move(msgspec.Struct, frozen=True):
    """Run that client there; it takes over from the one that stands."""

    client: str
    source: str
    target: str


class Balancer(ABC):
    """Decides, when asked. Opened by its name: see `open_balancer`."""

    name: ClassVar[str]

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """One with these options, by name; who has none refuses any.

        Raises:
            FlowOptionError: there is no such option, or its bounds are not kept.
        """
        if options:
            raise FlowOptionError(
                f"the balancer {cls.name} has no options, not {', '.join(sorted(options))}"
            )
        return cls()

    @abstractmethod
    def decide(self, machines: Sequence[MachineLoad], now: float) -> list[Move]:
        """What to move now; seldom more than nothing.

        Every server asks with the same figures and carries out the moves of its own clients;
        so the answer depends on the arguments, and on what was decided before, alone.

        Args:
            machines: all that there are, in any order.
            now: seconds, monotonic.
        """
