"""When to send RTCP: often enough to be of use, seldom enough never to crowd out media.

Source: RFC 3550 §6.3 and appendix A.7, from which the algorithm is taken step by step.
"""

from collections.abc import Callable
from math import e
from typing import Final

MINIMUM_INTERVAL: Final = 5.0
"""Seconds; half of it before the first report (§6.2)."""
SENDER_SHARE: Final = 0.25
"""Part of the RTCP bandwidth kept for senders, so that newcomers soon learn their names (§6.2)."""
COMPENSATION: Final = e - 1.5
"""Timer reconsideration converges to a rate too low by this factor (§6.3.1)."""
UDP_IP_OVERHEAD: Final = 28
"""Octets of the headers below RTCP, which count as RTCP bandwidth (§6.2)."""


def deterministic_interval(
    *,
    members: int,
    senders: int,
    we_sent: bool,
    bandwidth: float,
    average_size: float,
    initial: bool = False,
) -> float:
    """Seconds between reports, before they are randomised.

    Args:
        members: participants of the session, ourselves included.
        senders: those of them that sent RTP lately.
        we_sent: whether we are one of them.
        bandwidth: octets a second for the RTCP of all participants, > 0.
        average_size: octets of a compound packet with its UDP and IP headers.
        initial: no report was sent yet.
    """
    sharing = members
    if 0 < senders <= members * SENDER_SHARE:
        if we_sent:
            bandwidth *= SENDER_SHARE
            sharing = senders
        else:
            bandwidth *= 1 - SENDER_SHARE
            sharing = members - senders
    minimum = MINIMUM_INTERVAL / 2 if initial else MINIMUM_INTERVAL
    return max(average_size * sharing / bandwidth, minimum)


class RtcpTimer:
    """Decides when the next report is due, with timer reconsideration.

    Attributes:
        next_at: when to look again (seconds).
        reported_at: when the last report was sent; the start before the first.
        interval: the last deterministic interval (seconds).
    """

    __slots__ = (
        "_average_size",
        "_bandwidth",
        "_initial",
        "_members_before",
        "_random",
        "interval",
        "next_at",
        "reported_at",
    )

    def __init__(
        self, now: float, *, bandwidth: float, first_size: int, random: Callable[[], float]
    ) -> None:
        """
        Args:
            bandwidth: octets a second for RTCP.
            first_size: octets of the first report, as far as known.
            random: gives 0 <= x < 1.
        """
        self._bandwidth = bandwidth
        self._average_size = float(first_size + UDP_IP_OVERHEAD)
        self._random = random
        self._initial = True
        self._members_before = 1
        self.reported_at = now
        self.interval = MINIMUM_INTERVAL / 2
        self.next_at = now + self._draw(members=1, senders=0, we_sent=False)

    def is_report_due(self, now: float, *, members: int, senders: int, we_sent: bool) -> bool:
        """Call at `next_at`: whether to send now; sets `next_at` and `reported_at`.

        Source: RFC 3550 §6.3.6; `OnExpire` in appendix A.7.
        """
        self.next_at = self.reported_at + self._draw(members, senders, we_sent)
        self._members_before = members
        if self.next_at > now:
            return False
        self._initial = False
        self.reported_at = now
        self.next_at = now + self._draw(members, senders, we_sent)
        return True

    def note_packet(self, size: int) -> None:
        """Follow the size of compound packets sent and received (octets; §6.3.3)."""
        self._average_size += (size + UDP_IP_OVERHEAD - self._average_size) / 16

    def note_members_left(self, now: float, *, members: int) -> None:
        """Reverse reconsideration: report sooner when few are left (§6.3.4)."""
        if members < self._members_before:
            share = members / self._members_before
            self.next_at = now + share * (self.next_at - now)
            self.reported_at = now - share * (now - self.reported_at)
            self._members_before = members

    def _draw(self, members: int, senders: int, we_sent: bool) -> float:
        self.interval = deterministic_interval(
            members=members,
            senders=senders,
            we_sent=we_sent,
            bandwidth=self._bandwidth,
            average_size=self._average_size,
            initial=self._initial,
        )
        return self.interval * (0.5 + self._random()) / COMPENSATION
