"""Options of pipes, each with its unit and bounds, checked when it is made."""

import enum
import math
from pathlib import PurePosixPath

import msgspec

from eventgraph.pipes.errors import PipeNameError, PipeOptionError

MAX_NAME = 200  # characters; a key of three names stays well under what registries take

MAX_EVENTS = 1 << 17
"""In one message. Each that cannot be read costs 2 µs to find out, and nobody else runs meanwhile:
a message of the largest size could have millions of them."""

MAX_ELEMENTS = 1 << 17
"""Values in one message, beyond those that every event has: they take 15 MB and 0.03 s at the most.
A message of no more bytes cannot have more of them, so what is small is not counted."""


class Reliability(enum.StrEnum):
    """What becomes of events that a member got and did not take."""

    AT_MOST_ONCE = "at_most_once"  # they are lost, and counted
    AT_LEAST_ONCE = "at_least_once"  # they go to another member, marked as redelivered


class Overflow(enum.StrEnum):
    """What becomes of events for a group that takes them too slowly."""

    REFUSE = "refuse"  # the new one is dropped
    DROP_OLDEST = "drop_oldest"  # the one that has waited longest is dropped


def check_name(what: str, name: str) -> str:
    """A destination or group, as it stands in a key.

    Raises:
        PipeNameError: it is empty, too long, or has a slash or a control character in it.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise PipeNameError(f"the {what} {name[:20]!r} must have 1 to {MAX_NAME} characters")
    if "/" in name or not name.isprintable():
        raise PipeNameError(f"the {what} {name!r} must not have a slash or control characters")
    return name


def check_prefix(prefix: str) -> str:
    """A prefix of all keys, such as ``/streams/destinations``; without a slash at its end.

    Raises:
        PipeNameError: it does not begin with a slash, or is otherwise no path.
    """
    if not prefix.startswith("/") or not prefix.isprintable() or len(prefix) > 2 * MAX_NAME:
        raise PipeNameError(f"the prefix {prefix[:40]!r} must be a path that begins with a slash")
    return str(PurePosixPath(prefix)).rstrip("/")


class Binding(msgspec.Struct, frozen=True):
    """Where sockets listen, and what others are told.

    ``host`` is the address to bind to, or ``interface`` names the network interface whose
    address it is. ``advertise`` is the host that stands in the registry, for when others reach
    this machine by another name; by default the one that is bound to.
    """

    scheme: str = "tcp"  # tcp, tls+tcp, ws, ipc, inproc: what the transport knows
    host: str = "127.0.0.1"
    interface: str | None = None
    ports: tuple[int, int] = (0, 0)  # first and last that may be used; 0, 0: any that is free
    advertise: str | None = None

    def __post_init__(self) -> None:
        told = self.advertise
        if told is not None and (not told.isprintable() or set(told) & set(" /@*?#") or not told):
            raise PipeOptionError(f"advertise {told!r} is no host that others could dial")
        first, last = self.ports
        if not (0 <= first <= last <= 65535) or (first == 0 and last != 0):
            raise PipeOptionError(f"ports {first}-{last} are no range within 1-65535")


class DestinationOptions(msgspec.Struct, frozen=True):
    """How a destination treats its events; each limit is for one group."""

    reliability: Reliability = Reliability.AT_MOST_ONCE
    raw: bool = False  # plain messages, for programs that are not eventgraph; see `wire`
    overflow: Overflow = Overflow.REFUSE
    queue_size: int = 4096  # events that may wait
    queue_bytes: int = 16 << 20  # bytes that they may have, encoded
    max_batch_events: int = 1024  # events in one message
    max_batch_bytes: int = 64 << 10  # bytes, at which a message is full
    batch_delay: float = 0.0  # seconds that a message may wait to become full
    window: int = 64  # messages that a member may have without having taken them
    ack_timeout: float = 30.0  # seconds after which a message that nobody has is given up
    loss_grace: float = 1.0  # the same after a connection was lost
    group_linger: float = 0.0  # seconds that a pipe stays after the last member of its group
    drain_timeout: float = 5.0  # seconds that unregister waits for what is on its way

    def __post_init__(self) -> None:
        for name, kind in (("reliability", Reliability), ("overflow", Overflow)):
            try:
                msgspec.structs.force_setattr(self, name, kind(getattr(self, name)))
            except ValueError as error:
                raise PipeOptionError(f"{name}: {error}; use {', '.join(kind)}") from None
        for name in ("queue_size", "queue_bytes", "max_batch_events", "max_batch_bytes", "window"):
            if getattr(self, name) < 1:
                raise PipeOptionError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_batch_events > MAX_EVENTS:
            raise PipeOptionError(
                f"max_batch_events is {self.max_batch_events}; at most {MAX_EVENTS} are read"
            )
        for name in ("batch_delay", "ack_timeout", "loss_grace", "group_linger", "drain_timeout"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise PipeOptionError(f"{name} is {value} s; it must be finite, not negative")
        if self.raw and self.reliability is not Reliability.AT_MOST_ONCE:
            raise PipeOptionError("a raw destination has no acknowledgements: at_most_once only")
