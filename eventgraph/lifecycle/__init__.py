"""Who runs when: servers that run while they have clients, clients that run while attached.

A policy over the links of the graph: an attachment is a link from the server to the client,
whoever put it up. From the top down::

    node         LifecycleNode, to inherit from; DrivenNode, to embed
    lifecycle    of one node: what its links ask for, done in order
    own_task     the task of a node's run(), and its timers
    attachment   what the links say: servers, clients, cycles
    state        the states, the table, and what is to be done next
    errors

``state`` and ``attachment`` are pure: no trio, no clock, no hooks.
"""

from eventgraph.lifecycle.errors import (
    AttachedError,
    CycleError,
    LifecycleError,
    NotAttachedError,
)
from eventgraph.lifecycle.lifecycle import LifecycleStatistics
from eventgraph.lifecycle.node import DrivenNode, LifecycleNode
from eventgraph.lifecycle.state import LifecycleState, Principal

__all__ = [
    "AttachedError",
    "CycleError",
    "DrivenNode",
    "LifecycleError",
    "LifecycleNode",
    "LifecycleState",
    "LifecycleStatistics",
    "NotAttachedError",
    "Principal",
]
