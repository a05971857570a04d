"""The tables of the lifecycle, exhaustively."""

import itertools

import pytest

from eventgraph.lifecycle.state import LifecycleState, Step, after, next_step

STOPPED, STARTING = LifecycleState.STOPPED, LifecycleState.STARTING
RUNNING, STOPPING = LifecycleState.RUNNING, LifecycleState.STOPPING

ALLOWED = {
    (STOPPED, Step.START, STARTING),
    (STARTING, Step.STARTED, RUNNING),
    (STARTING, Step.GIVEN_UP, STOPPED),
    (RUNNING, Step.STOP, STOPPING),
    (STOPPING, Step.STOPPED, STOPPED),
}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(LifecycleState, Step)))
def test_each_step_leads_where_the_table_says_or_nowhere(state: LifecycleState, step: Step) -> None:
    leads_to = {to for at, by, to in ALLOWED if (at, by) == (state, step)}
    if leads_to:
        assert {after(state, step)} == leads_to
    else:
        with pytest.raises(ValueError, match=f"{state} cannot {step}"):
            after(state, step)


@pytest.mark.parametrize(
    ("state", "demanded", "let_go", "lingering"),
    list(itertools.product(LifecycleState, *[[False, True]] * 3)),
)
def test_next_step(state: LifecycleState, demanded: bool, let_go: bool, lingering: bool) -> None:
    expected = None
    if state is STOPPED:
        expected = Step.START if (demanded, let_go) == (True, False) else None
    elif state is RUNNING:
        expected = None if (let_go, demanded or lingering) == (False, True) else Step.STOP
    assert next_step(state, demanded=demanded, let_go=let_go, lingering=lingering) is expected


def test_step_that_is_next_is_always_allowed() -> None:
    for state in LifecycleState:
        for demanded, let_go, lingering in itertools.product([False, True], repeat=3):
            step = next_step(state, demanded=demanded, let_go=let_go, lingering=lingering)
            if step is not None:
                after(state, step)
