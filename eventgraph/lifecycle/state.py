"""The life of a node that runs by demand, as two tables. Pure.

::

    STOPPED -START-> STARTING -STARTED-> RUNNING -STOP-> STOPPING -STOPPED-> STOPPED
       ^________GIVEN_UP_|
"""

import enum


class LifecycleState(enum.StrEnum):
    """Whether a node runs."""

    STOPPED = "stopped"  # in the graph, and idle
    STARTING = "starting"  # on_start has not returned; events wait in the channel
    RUNNING = "running"
    STOPPING = "stopping"  # handles what it has accepted, then its clients stop, then on_stop


class Principal(enum.StrEnum):
    """Which of its two roles decides whether a node runs."""

    SERVER = "server"  # runs while it has a client
    CLIENT = "client"  # runs while it is attached to a server


class Step(enum.StrEnum):
    """What takes a node from one state to the next."""

    START = "start"
    STARTED = "started"  # on_start has returned
    GIVEN_UP = "given_up"  # on_start raised, or was cancelled
    STOP = "stop"
    STOPPED = "stopped"  # on_stop has returned, or raised


TRANSITIONS = {
    (LifecycleState.STOPPED, Step.START): LifecycleState.STARTING,
    (LifecycleState.STARTING, Step.STARTED): LifecycleState.RUNNING,
    (LifecycleState.STARTING, Step.GIVEN_UP): LifecycleState.STOPPED,
    (LifecycleState.RUNNING, Step.STOP): LifecycleState.STOPPING,
    (LifecycleState.STOPPING, Step.STOPPED): LifecycleState.STOPPED,
}


def after(state: LifecycleState, step: Step) -> LifecycleState:
    """The state that a step leads to.

    Raises:
        ValueError: there is no such step from this state.
    """
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise ValueError(f"a node that is {state} cannot {step}") from None


def next_step(
    state: LifecycleState, *, demanded: bool, let_go: bool, lingering: bool
) -> Step | None:
    """What is to be done now, if anything.

    Args:
        demanded: a principal server has a client; a principal client has a server.
        let_go: it was detached from its server, or asked to stop: it stops, demanded or not.
        lingering: it keeps running for a while without demand.
    """
    if state is LifecycleState.STOPPED and demanded and not let_go:
        return Step.START
    if state is LifecycleState.RUNNING and (let_go or not (demanded or lingering)):
        return Step.STOP
    return None
