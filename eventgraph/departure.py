"""In which order the nodes of a graph leave: senders before receivers, cycles together.

Pure. Nodes that can reach each other (a strongly connected component) go together; a
component goes when every component that links to it has gone. Components are found by
Tarjan's algorithm (Depth-first search and linear graph algorithms, 1972), written with an
explicit stack because a chain of nodes may be longer than Python's own.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


def components(successors: Mapping[N, Iterable[N]]) -> list[list[N]]:
    """The strongly connected components, each before those that link to it.

    Args:
        successors: every node, and the nodes that it links to.
    """
    found: list[list[N]] = []
    index: dict[N, int] = {}  # in the order of discovery
    low: dict[N, int] = {}  # the earliest node known to be in the same component
    trail: list[N] = []  # discovered, component not settled
    on_trail: set[N] = set()
    for root in successors:
        if root in index:
            continue
        work: list[tuple[N, Iterator[N]]] = []
        entering: N | None = root
        while entering is not None or work:
            if entering is not None:
                index[entering] = low[entering] = len(index)
                trail.append(entering)
                on_trail.add(entering)
                work.append((entering, iter(successors[entering])))
                entering = None
            node, rest = work[-1]
            for following in rest:
                if following not in index:
                    entering = following
                    break
                if following in on_trail:
                    low[node] = min(low[node], index[following])
            if entering is not None:
                continue
            work.pop()
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
            if low[node] == index[node]:
                component: list[N] = []
                while not component or component[-1] != node:
                    component.append(trail.pop())
                on_trail.difference_update(component)
                found.append(component)
    return found


class DeparturePlan(Generic[N]):
    """Who may leave now, and who next: ``first()``, then ``left(node)`` for each one gone."""

    def __init__(self, successors: Mapping[N, Iterable[N]]) -> None:
        self._groups = components(successors)
        self._group_of = {node: i for i, group in enumerate(self._groups) for node in group}
        self._following: list[set[int]] = [set() for _ in self._groups]
        for node, following in successors.items():
            own = self._group_of[node]
            self._following[own].update(self._group_of[other] for other in following)
            self._following[own].discard(own)
        self._waits_for = [0] * len(self._groups)
        for following_groups in self._following:
            for group in following_groups:
                self._waits_for[group] += 1
        self._remaining = [len(group) for group in self._groups]

    def first(self) -> list[N]:
        """The nodes that nobody else's events have to reach first."""
        return [
            node
            for group, count in zip(self._groups, self._waits_for, strict=True)
            if not count
            for node in group
        ]

    def left(self, node: N) -> list[N]:
        """This node is gone; the nodes whose turn has come by that."""
        own = self._group_of.get(node)
        if own is None:
            return []
        self._remaining[own] -= 1
        if self._remaining[own]:
            return []
        released: list[N] = []
        for group in self._following[own]:
            self._waits_for[group] -= 1
            if not self._waits_for[group]:
                released.extend(self._groups[group])
        return released
