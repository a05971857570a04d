"""The life of a node, as a table."""

import enum


class NodeState(enum.StrEnum):
    """Where a node is in its life::

    entering -> running -> exiting -> exited
        \\__________\\_________\\____-> crashed

    A supervised node that crashes is suspended, and enters again::

    entering -> running -> suspended -> entering
                               \\____-> crashed
    """

    ENTERING = "entering"  # added; on_enter has not returned
    RUNNING = "running"
    SUSPENDED = "suspended"  # it crashed and will be restarted; links stay, nothing is taken
    EXITING = "exiting"  # takes nothing new, handles what it has accepted
    EXITED = "exited"
    CRASHED = "crashed"


TAKES_LINKS = frozenset({NodeState.ENTERING, NodeState.RUNNING, NodeState.SUSPENDED})
PUTS_LINKS_UP = TAKES_LINKS | {NodeState.EXITING}
