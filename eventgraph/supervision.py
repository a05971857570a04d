"""Supervision: nodes that are built by a factory and run again after a crash.

A supervised node that crashes is *suspended*: its address and its links stay, with their ids, and
deliveries to it are refused. `Keeper` looks after one such node; `Supervisor` after those of one
graph, when the failure of one is to go further up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from eventgraph.errors import GraphError, GraphFailedError
from eventgraph.event import Address
from eventgraph.node import Node
from eventgraph.restart import Level, Restart, RestartHistory, RestartPolicy
from eventgraph.runner import Runner
from eventgraph.runtime import Runtime
from eventgraph.state import NodeState

logger = logging.getLogger("eventgraph")

Factory = Callable[[], Node]


class Keeper:
    """Restarts one node, or lets it go."""

    def __init__(self, supervisor: Supervisor, factory: Factory, policy: RestartPolicy) -> None:
        self.policy = policy
        self.dismissed = False  # it is to leave for good
        self._supervisor = supervisor
        self._factory = factory
        self._history = RestartHistory()
        self._delay = 0.0
        self._waiting: trio.CancelScope | None = None
        self.runner: Runner

    def build(self) -> Node:
        """A new node from the factory."""
        node = self._factory()
        if not isinstance(node, Node):
            raise GraphError(f"the factory returned {type(node).__name__}, which is no Node")
        return node

    # What the runner asks and tells; see `member.Keeper`

    def takes_back(self) -> bool:
        if self.dismissed or not self._supervisor.open or self.policy.restart is Restart.TEMPORARY:
            return False
        delay = self._history.next_delay(self.policy, trio.current_time())
        if delay is None:
            logger.error("node %s crashed again: %s", self.runner.address, self._spent())
            return self._supervisor.escalate(self)
        logger.warning("node %s is restarted in %.3g s", self.runner.address, delay)
        self._delay = delay
        return True

    def suspended(self) -> None:
        self._wait(self._begin_again)

    def left(self) -> None:
        self.stop()
        comes_back = self.policy.restart is Restart.PERMANENT and self._supervisor.open
        if comes_back and not self.dismissed and self.runner.state is NodeState.EXITED:
            delay = self._history.next_delay(self.policy, trio.current_time())
            if delay is not None:
                self._delay = delay
                self._wait(self._add_again)
                return
            logger.error("node %s left again: %s", self.runner.address, self._spent())
        self._supervisor.forget(self)

    # What the supervisor asks for

    def start_over(self, delay: float) -> None:
        """Its restarts count from now on; the one that is due comes after so many seconds."""
        self._history = RestartHistory()
        self._delay = delay

    def restart_in(self, delay: float) -> None:
        """Restart it with others, whether it runs or is suspended already."""
        self.start_over(delay)
        if self.runner.state in (NodeState.ENTERING, NodeState.RUNNING):
            self.runner.suspend_now()
        elif self.runner.state is NodeState.SUSPENDED and self._waiting is not None:
            self._waiting.cancel()
            self.suspended()

    def stop(self) -> None:
        """Restart it no more."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _spent(self) -> str:
        return f"{self.policy.max_restarts} restarts within {self.policy.period:g} s are spent"

    def _wait(self, then: Callable[[], None]) -> None:
        self._waiting = trio.CancelScope()
        self._supervisor.start(self._sleep, self._waiting, self._delay, then)

    async def _sleep(self, scope: trio.CancelScope, delay: float, then: Callable[[], None]) -> None:
        with scope:
            await trio.sleep(delay)
        if not scope.cancelled_caught and self._supervisor.open:
            self._waiting = None
            then()

    def _begin_again(self) -> None:
        try:
            self.runner.begin_again(self.build())
        except Exception as error:
            self._supervisor.report(self.runner.address, error)
            if self.takes_back():
                self.suspended()
            else:
                self.runner.give_up()

    def _add_again(self) -> None:
        try:
            self._supervisor.add(self)
        except Exception as error:  # such as another node at its address
            self._supervisor.report(self.runner.address, error)
            self._supervisor.forget(self)


class Supervisor:
    """All keepers of a graph, and the failures that are more than one node's.

    Args:
        add: takes a node into the graph, with its keeper, and returns its runner.
    """

    def __init__(self, runtime: Runtime, add: Callable[[Node, Keeper], Runner]) -> None:
        self._runtime = runtime
        self._add = add
        self._keepers: dict[Address, Keeper] = {}
        self._scopes: dict[str, RestartHistory] = {}
        self._graph = RestartHistory()

    @property
    def open(self) -> bool:
        """Whether nodes may still come."""
        return self._runtime.open

    def add(self, keeper: Keeper) -> Runner:
        """Build the keeper's node and take it into the graph."""
        runner = self._add(keeper.build(), keeper)
        keeper.runner = runner
        self._keepers[runner.address] = keeper
        return runner

    def stop(self) -> None:
        """Restart nobody any more: the graph is being left."""
        for keeper in self._keepers.values():
            keeper.stop()

    def dismiss(self, address: Address) -> None:
        """Restart the node there no more.

        Raises:
            GraphError: no supervised node is there.
        """
        keeper = self._keepers.get(address)
        if keeper is None:
            raise GraphError(f"no supervised node is at {address}")
        keeper.dismissed = True

    def forget(self, keeper: Keeper) -> None:
        """It has left for good."""
        address = keeper.runner.address
        with suppress(KeyError):
            del self._keepers[address]
        if not any(other.scope == address.scope for other in self._keepers):
            self._scopes.pop(address.scope, None)

    def escalate(self, keeper: Keeper) -> bool:
        """Its restarts are spent; whether it is restarted all the same, with others."""
        policy, address = keeper.policy, keeper.runner.address
        if policy.escalate is Level.NODE:
            return False
        family = [k for a, k in self._keepers.items() if a.scope == address.scope]
        history = self._scopes.setdefault(address.scope, RestartHistory())
        if self._restart_all(family, history, keeper, f"scope {address.scope}"):
            return True
        if policy.escalate is Level.SCOPE:
            self._give_up(family, keeper)
            return False
        if self._restart_all(list(self._keepers.values()), self._graph, keeper, "the graph"):
            self._scopes.clear()
            return True
        self.start(_fail, address)
        return False

    def _restart_all(
        self, family: list[Keeper], history: RestartHistory, failed: Keeper, what: str
    ) -> bool:
        delay = history.next_delay(failed.policy, trio.current_time())
        if delay is None:
            logger.error("%s failed with node %s", what, failed.runner.address)
            return False
        logger.warning("all of %s is restarted in %.3g s", what, delay)
        for keeper in family:
            if keeper is failed:
                keeper.start_over(delay)
            elif keeper.policy.restart is Restart.TEMPORARY:
                keeper.runner.begin_exit()
            else:
                keeper.restart_in(delay)
        return True

    def _give_up(self, family: list[Keeper], failed: Keeper) -> None:
        for keeper in family:
            if keeper is not failed:
                keeper.dismissed = True
                keeper.runner.begin_exit()

    # Tasks and reports

    def start(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run a task beside the nodes; it ends by itself when the graph is left."""
        assert self._runtime.nursery is not None
        self._runtime.nursery.start_soon(task, *arguments)

    def report(self, address: Address, error: Exception) -> None:
        """A factory failed."""
        self._runtime.report_crash(address, "factory", error)


async def _fail(address: Address) -> None:
    raise GraphFailedError(
        f"node {address} crashed again, and the restarts of its scope and of the graph are spent"
    )
