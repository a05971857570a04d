"""The life of a node, as a table."""

import enum


class NodeState(enum.StrEnum):
    """Where a node is in its life::

    entering -> running -> exiting -> exited
        \\__________\\_________\\____-> crashed
    """

    ENTERING = "entering"  # added; on_enter has not returned
    RUNNING = "running"
    EXITING = "exiting"  # takes nothing new, handles what it has accepted
    EXITED = "exited"
    CRASHED = "crashed"


TAKES_LINKS = frozenset({NodeState.ENTERING, NodeState.RUNNING})
PUTS_LINKS_UP = frozenset({NodeState.ENTERING, NodeState.RUNNING, NodeState.EXITING})
