"""The order in which nodes leave, against a slow and plain oracle."""

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.departure import DeparturePlan, components

graphs = st.integers(1, 12).flatmap(
    lambda n: st.fixed_dictionaries(
        {i: st.lists(st.integers(0, n - 1), unique=True) for i in range(n)}
    )
)


def reachable(successors: dict[int, list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    work = [start]
    while work:
        for following in successors[work.pop()]:
            if following not in seen:
                seen.add(following)
                work.append(following)
    return seen


@given(graphs)
def test_component_is_those_that_reach_each_other(successors: dict[int, list[int]]) -> None:
    found = components(successors)
    assert sorted(node for group in found for node in group) == sorted(successors)
    reach = {node: reachable(successors, node) | {node} for node in successors}
    group_of = {node: i for i, group in enumerate(found) for node in group}
    for a in successors:
        for b in successors:
            together = b in reach[a] and a in reach[b]
            assert together == (group_of[a] == group_of[b])


@given(graphs, st.randoms(use_true_random=False))
def test_nobody_leaves_before_those_that_reach_it(successors: dict[int, list[int]], random) -> None:  # type: ignore[no-untyped-def]  # Hypothesis has no public type for it
    plan = DeparturePlan(successors)
    reach = {node: reachable(successors, node) for node in successors}
    may_leave, gone = plan.first(), set()
    while may_leave:
        node = may_leave.pop(random.randrange(len(may_leave)))
        for other in successors:
            if node in reach[other] and other not in reach[node]:
                assert other in gone
        gone.add(node)
        may_leave += plan.left(node)
    assert gone == set(successors)


def test_chain_longer_than_the_stack() -> None:
    n = 20_000
    successors = {i: [i + 1] if i + 1 < n else [] for i in range(n)}
    assert len(components(successors)) == n


def test_node_that_is_not_in_the_plan_releases_nobody() -> None:
    assert DeparturePlan({1: [2], 2: []}).left(3) == []
