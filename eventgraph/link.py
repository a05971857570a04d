"""Links, the fixed table in which a node finds its own, and the vertices they join.

A link id is a slot of the table and that slot's generation::

     63                    16 15              0
    +------------------------+-----------------+
    |       generation       |      slot       |
    +------------------------+-----------------+

A slot's generation goes up each time it is used, so the id of a link that is gone is never
the id of the link that has its slot now. ``deliver`` looks the id up among those that are
up: one dict lookup, with no lock, answers "is it up?" and "is it still the same link?"
together. (A list indexed by slot, with a comparison of ids, took 15 ns more of 130.)
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, NamedTuple

from eventgraph.errors import LinkNotFoundError, LinkTableFullError
from eventgraph.event import Address, Event
from eventgraph.state import NodeState

SLOT_BITS = 16
SLOT_MASK = (1 << SLOT_BITS) - 1
MAX_LINKS = 1 << SLOT_BITS

# Links that go up and down while their sender is stuck queue one notice each; this many
# and no more. Far above what a node that runs at all has waiting.
MAX_PENDING = 1 << 17


class DropReason(enum.StrEnum):
    """Why an event that was offered was not, and will not be, handled."""

    FULL = "full"  # the receiver's channel had no room
    SUSPENDED = "suspended"  # the receiver crashed and has yet to be restarted
    LINK_DOWN = "link_down"  # the link had gone down, its on_link_down had not run yet
    STALE = "stale"  # the link is gone, or the node has left
    CRASHED = "crashed"  # it was left in the channel of a node that crashed
    CANCELLED = "cancelled"  # the graph was left without draining, or the sender was cancelled


class Tally:
    """What was offered on one way into a channel, and what became of it.

    ``accepted`` is all that the hot path counts. What is queued stands in the receiver's
    channel beside its tally, and what was handled is the rest:
    ``handled = accepted - queued - discarded`` and ``offered = accepted + refused``.
    """

    __slots__ = ("accepted", "discarded", "refused")

    def __init__(self) -> None:
        # A whole number in a float: CPython reuses the memory of floats, and allocates that
        # of each larger int anew. It saves 11 of the 20 ns of counting; exact up to 2**53.
        self.accepted = 0.0
        self.refused: dict[DropReason, int] = {}  # never got into a channel
        self.discarded: dict[DropReason, int] = {}  # got in, and was thrown away

    def refuse(self, reason: DropReason) -> None:
        """Count an event that was offered and not taken."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def discard(self, reason: DropReason) -> None:
        """Count an event that was taken, and thrown away before its turn."""
        self.discarded[reason] = self.discarded.get(reason, 0) + 1

    def absorb(self, other: Tally) -> None:
        """Take over the counts of a way that is gone, so that nothing counted is lost.

        Both share their dicts from now on: an event may still be waiting in a channel,
        and if it is thrown away later it has to be counted here.
        """
        self.accepted += other.accepted
        for own, others in ((self.refused, other.refused), (self.discarded, other.discarded)):
            for reason, count in others.items():
                own[reason] = own.get(reason, 0) + count
        other.accepted, other.refused, other.discarded = 0.0, self.refused, self.discarded

    def copy(self) -> Tally:
        """The same counts, which stay as they are."""
        twin = Tally()
        twin.accepted = self.accepted
        twin.refused = self.refused.copy()
        twin.discarded = self.discarded.copy()
        return twin


class Retired(Tally):
    """Of all ways that are gone.

    Attributes:
        ways: how many.
    """

    __slots__ = ("ways",)

    def __init__(self) -> None:
        super().__init__()
        self.ways = 0

    def absorb(self, other: Tally) -> None:
        super().absorb(other)
        self.ways += 1


class Way(Tally):
    """One way into channels, and who delivers on it: a link, to oneself, or from threads."""

    __slots__ = ("sender",)

    def __init__(self, sender: Vertex) -> None:
        super().__init__()
        self.sender = sender


class Link(Way):
    """One direction between two nodes.

    ``entries`` and ``capacity`` are the receiver's channel and its bound, one lookup nearer.
    """

    __slots__ = ("capacity", "entries", "id", "receiver")

    def __init__(self, sender: Vertex, receiver: Vertex) -> None:
        super().__init__(sender)
        self.id = 0  # until it has a slot
        self.receiver = receiver
        self.entries = receiver.entries
        self.capacity = receiver.capacity


class LinkTable:
    """A node's output links: a fixed number of slots.

    ``up`` is what ``deliver`` reads: the links that are up, by id. ``closing`` holds those
    that are down and whose ``on_link_down`` has yet to run.
    """

    __slots__ = ("_freed", "_generations", "closing", "size", "up")

    def __init__(self, size: int) -> None:
        self.size = size
        self.up: dict[int, Link] = {}
        self.closing: dict[int, Link] = {}
        self._generations: list[int] = []  # of the slots that have been used
        self._freed: list[int] = []  # those of them that are free

    def put_up(self, link: Link) -> None:
        """Give the link a slot and its id.

        Raises:
            LinkTableFullError: no slot is free.
        """
        if self._freed:
            slot = self._freed.pop()
        elif len(self._generations) < self.size:
            slot = len(self._generations)
            self._generations.append(0)
        else:
            raise LinkTableFullError(
                f"all {self.size} links of {link.sender.address} are in use; "
                "take one down, or set max_links higher before add_node"
            )
        self._generations[slot] += 1
        link.id = self._generations[slot] << SLOT_BITS | slot
        self.up[link.id] = link

    def take_down(self, link: Link) -> None:
        """Free the slot at once; the id stays known until ``forget``."""
        del self.up[link.id]
        self._freed.append(link.id & SLOT_MASK)
        self.closing[link.id] = link

    def forget(self, link: Link) -> None:
        """The sender has been told that the link is down."""
        del self.closing[link.id]

    def find(self, link_id: int) -> Link | None:
        """The link of that id, up or closing; None if it is gone.

        Raises:
            LinkNotFoundError: that id was never issued by this table.
        """
        link = self.up.get(link_id) or self.closing.get(link_id)
        if link is not None:
            return link
        slot, generation = link_id & SLOT_MASK, link_id >> SLOT_BITS
        if slot < len(self._generations) and 1 <= generation <= self._generations[slot]:
            return None
        raise LinkNotFoundError(
            f"link id {link_id} was never issued to this node; "
            "use what request_link_up returned or on_link_up was given"
        )


class Notice(NamedTuple):
    """One message of a control channel: a hook to call."""

    hook: str
    arguments: tuple[Any, ...]
    link: Link | None = None  # the link that is forgotten once on_link_down has run


class Vertex:
    """A node as the topology sees it: its address, limits, state, links and two channels.

    ``entries`` is the data channel, ``capacity`` bounds it; each event stands beside the
    tally that it is counted on. Whoever appends to it calls ``wake()`` if ``parked`` says
    that nobody is coming to look. ``control`` is the control channel; use ``tell``.
    """

    __slots__ = (
        "address",
        "capacity",
        "channel_size",
        "control",
        "entries",
        "inputs",
        "outputs",
        "parked",
        "state",
    )

    def __init__(self, address: Address, max_links: int, channel_size: int) -> None:
        for limit, value in (("max_links", max_links), ("channel_size", channel_size)):
            if not isinstance(value, int):
                raise TypeError(f"{limit} of {address} is {value!r}; it must be an int")
        if not 0 <= max_links <= MAX_LINKS:
            raise ValueError(f"max_links of {address} is {max_links}; it must be 0..{MAX_LINKS}")
        if channel_size < 1:
            raise ValueError(f"channel_size of {address} is {channel_size}; it must be at least 1")
        self.address = address
        self.channel_size = channel_size
        self.capacity = channel_size  # what is taken now: nothing while it is suspended
        self.entries: deque[tuple[Tally, Event]] = deque()
        self.control: deque[Notice] = deque()
        self.inputs: dict[Vertex, Link] = {}
        self.outputs = LinkTable(max_links)
        self.state = NodeState.ENTERING
        self.parked = False

    def tell(self, notice: Notice) -> None:
        """Queue a call to a hook; it comes before all data that waits."""
        self.control.append(notice)
        if self.parked:
            self.wake()

    def take_at_most(self, capacity: int) -> None:
        """Set how many events the data channel takes, on all links to it."""
        self.capacity = capacity
        for link in self.inputs.values():
            link.capacity = capacity

    def why_full(self) -> DropReason:
        """Why the data channel takes no more."""
        suspended = self.state is NodeState.SUSPENDED
        return DropReason.SUSPENDED if suspended else DropReason.FULL

    def wake(self) -> None:
        """Something came while ``parked``: see to it that it is looked at."""
        self.parked = False

    def input_lost(self, link: Link) -> None:
        """An input link has gone down: nothing more comes through it."""

    def rewired(self, link: Link, up: bool) -> None:
        """A link to or from it has gone up or down."""
