"""Membership: who is in a group, from what the registry shows and what members say. Pure.

The registry alone would be late for a member that died, and wrong while it is away: a member
that still reports is one, whether or not its key stands at the moment.
"""

from collections.abc import Iterable

MAX_HEARD = 4096  # members that are known by their reports; more in one group make no sense


class Membership:
    """The members of one group.

    Args:
        keepalive: seconds of silence after which a member counts as dead.
        reports: whether members report. If not, as in raw mode, the registry decides: a member
            is one until its key has been gone for the keepalive time.
    """

    def __init__(self, keepalive: float, *, reports: bool = True) -> None:
        self._keepalive = keepalive
        self._reports = reports
        self._registered: set[str] = set()
        self._heard: dict[str, float] = {}  # when it was last heard of, or first seen
        self._left: set[str] = set()  # said so; their keys may still stand

    def registered(self, members: Iterable[str], now: float) -> None:
        """The registry shows these."""
        self._registered = set(members)
        self._left &= self._registered
        for member in self._registered - self._left:
            self._heard.setdefault(member, now)

    def heard(self, member: str, now: float) -> None:
        """A member has reported."""
        if member not in self._left and (member in self._heard or len(self._heard) < MAX_HEARD):
            self._heard[member] = now

    def excuse(self, seconds: float) -> None:
        """We ourselves were away for so long: nobody could have been heard."""
        for member in self._heard:
            self._heard[member] += seconds

    def left(self, member: str) -> None:
        """A member has said that it leaves."""
        self._heard.pop(member, None)
        if member in self._registered:
            self._left.add(member)

    def alive(self, now: float) -> set[str]:
        """Who can be expected to take events."""
        if not self._reports:
            self._heard |= dict.fromkeys(self._registered, now)
        for member, heard in list(self._heard.items()):
            if now - heard > self._keepalive and member not in self._registered:
                del self._heard[member]
        return {
            member
            for member, heard in self._heard.items()
            if now - heard <= self._keepalive and member not in self._left
        }

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left, dead or alive; as of the last `alive`."""
        return not (self._registered - self._left) and not self._heard
