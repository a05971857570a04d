"""Load balancing: single decisions, and thousands of seconds in simulation."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph.flows.balancing import (
    BalanceByLoad,
    Balancer,
    ClientLoad,
    DoNothing,
    LoadOptions,
    MachineLoad,
    Move,
    open_balancer,
)
from eventgraph.flows.balancing.peak import RecentPeak
from eventgraph.flows.errors import FlowOptionError
from tests.flows.balancing_simulation import (
    Curve,
    SimulatedClient,
    SimulatedMachine,
    Simulation,
    constant,
    returns,
    sine,
    square,
    steps,
)

OPTIONS = LoadOptions()
RETURN_TIME = OPTIONS.return_time


def client(name: str, need: float, *, movable: bool = True, since: float = 1e6) -> ClientLoad:
    return ClientLoad(name, need, movable, since)


def machine(
    name: str, *clients: ClientLoad, cores: float = 4.0, others: float = 0.0
) -> MachineLoad:
    return MachineLoad(name, cores, others + sum(c.need for c in clients), clients)


def decide_for(
    balancer: Balancer, machines: Sequence[MachineLoad], seconds: float, begin: float = 0.0
) -> list[tuple[float, Move]]:
    """The same figures, every five seconds."""
    times = [begin + 5.0 * i for i in range(int(seconds // 5) + 1)]
    return [(now, move) for now in times for move in balancer.decide(machines, now)]


FULL = machine("a", client("x", 1.0), client("y", 2.0), others=0.8)
IDLE = machine("b")


# Single decisions


def test_none_moves_nothing() -> None:
    assert decide_for(DoNothing(), [FULL, IDLE], 3600) == []


def test_lasting_overload_moves_the_client_that_leaves_both_least_busy() -> None:
    (first, *_) = decide_for(BalanceByLoad(), [FULL, IDLE], 150)
    assert first == (OPTIONS.window, Move("y", "a", "b"))


def test_overload_that_ends_in_between_begins_anew() -> None:
    balancer = BalanceByLoad()
    calm = machine("a", client("x", 1.0), client("y", 2.0))
    for i in range(200):
        now = 5.0 * i
        assert balancer.decide([calm if i % 4 == 3 else FULL, IDLE], now) == []


@pytest.mark.parametrize(
    "source",
    [
        machine("a", client("x", 1.0, movable=False), others=2.8),
        machine("a", client("x", 0.0), others=3.8),
        machine("a", client("x", 0.1), others=3.8),  # 2.5 % of the machine: not worth a move
        machine("a", client("x", 3.8)),  # would overload the other instead
        machine("a", client("x", 1.0, since=10.0), others=2.8),
        machine("a", client("x", 1.0), others=2.4),  # 85 %: at the mark, not above
        machine("a", client("x", math.nan), others=3.8),
        machine("a", client("x", math.inf), others=3.8),
        machine("a", client("x", -1.0), others=4.8),
        MachineLoad("a", 4.0, math.nan, (client("x", 1.0),)),
        MachineLoad("a", 0.0, 3.8, (client("x", 1.0),)),
        machine("a", others=3.9),
    ],
)
def test_what_cannot_be_moved_or_is_not_worth_it_stays(source: MachineLoad) -> None:
    assert decide_for(BalanceByLoad(), [source, IDLE], 300) == []


@pytest.mark.parametrize(
    "target",
    [
        machine("b", others=1.7),  # 67.5 % after it
        machine("b", cores=1.0),
        MachineLoad("b", 0.0, 0.0),
        MachineLoad("b", -4.0, 0.0),
        MachineLoad("b", math.nan, 0.0),
        MachineLoad("b", math.inf, 0.0),
        MachineLoad("b", 4.0, math.nan),
    ],
)
def test_machine_without_power_to_spare_gets_nothing(target: MachineLoad) -> None:
    source = machine("a", client("x", 1.0), others=2.8)
    assert decide_for(BalanceByLoad(), [source, target], 300) == []


def test_one_machine_alone_or_none_keeps_what_it_has() -> None:
    assert decide_for(BalanceByLoad(), [FULL], 300) == []
    assert decide_for(BalanceByLoad(), [], 300) == []


def test_cores_differ_and_count_as_shares() -> None:
    """Two cores of 64 are nothing; one of two is half."""
    big = machine("c", cores=64.0, others=20.0)
    small = machine("b", cores=2.0)
    source = machine("a", client("x", 1.0), others=2.8)
    (first, *_) = decide_for(BalanceByLoad(), [source, small, big], 150)
    assert first[1] == Move("x", "a", "c")


def test_ties_go_by_name_whatever_the_order() -> None:
    source = machine("m", client("q", 1.0), client("p", 1.0), others=1.9)
    machines = [machine("z"), source, machine("b"), machine("k")]
    for order in (machines, machines[::-1], sorted(machines, key=lambda m: m.cores)):
        (first, *_) = decide_for(BalanceByLoad(), order, 150)
        assert first[1] == Move("p", "m", "b")


def test_two_overloaded_machines_do_not_choose_the_same_target_at_once() -> None:
    sources = [machine(name, client(f"{name}1", 1.0), others=2.8) for name in ("a", "b")]
    moves = decide_for(BalanceByLoad(), [*sources, machine("c"), machine("d")], 120)
    assert [move for _, move in moves] == [Move("a1", "a", "c"), Move("b1", "b", "d")]
    moves = decide_for(BalanceByLoad(), [*sources, machine("c")], 120)
    assert [move for _, move in moves] == [Move("a1", "a", "c")]


def test_machines_of_a_move_rest_until_the_figures_show_it() -> None:
    """The figures never change, as if no move had any effect."""
    moves = decide_for(BalanceByLoad(), [FULL, IDLE, machine("c")], 1200)
    times = [now for now, _ in moves]
    assert len(moves) >= 3
    pause = OPTIONS.settling + OPTIONS.overload_time
    assert all(later - now >= pause for now, later in pairwise(times))


def test_move_that_came_to_nothing_is_not_tried_again_at_once() -> None:
    source = machine("a", client("x", 1.0), others=2.8)
    moves = decide_for(BalanceByLoad(), [source, IDLE, machine("c")], RETURN_TIME)
    assert [move.target for _, move in moves] == ["b", "c"]
    assert moves[1][0] - moves[0][0] >= OPTIONS.residence


def test_client_that_somebody_else_moved_rests_and_does_not_return() -> None:
    balancer = BalanceByLoad()
    x = client("x", 1.0)
    assert decide_for(balancer, [machine("a", x, others=1.0), IDLE], 60) == []
    after = [machine("a"), machine("b", x, others=2.8)]
    moves = decide_for(balancer, after, 2 * RETURN_TIME, begin=65)
    assert moves[0][0] == 65 + RETURN_TIME


def test_client_at_two_machines_is_moving_already() -> None:
    x = client("x", 1.0)
    source, target = machine("a", x, others=2.8), machine("b", x)
    assert decide_for(BalanceByLoad(), [source, target, machine("c")], 300) == []


def test_machine_that_comes_and_goes_gets_nothing() -> None:
    balancer = BalanceByLoad()
    for i in range(1000):
        machines = [FULL, IDLE] if i % 4 else [FULL]
        assert balancer.decide(machines, 5.0 * i) == []


def test_peak_of_the_client_decides_not_the_moment() -> None:
    balancer = BalanceByLoad()
    moves = []
    for i in range(200):
        source = machine("a", client("x", 2.8 if i % 20 == 0 else 0.5), others=3.5)
        moves += balancer.decide([source, IDLE], 5.0 * i)
    assert moves == []


def test_peak_of_the_target_decides_not_the_moment() -> None:
    balancer = BalanceByLoad()
    source = machine("a", client("x", 1.0), others=2.8)
    moves = []
    for i in range(200):
        target = machine("b", others=2.0 if i % 20 == 0 else 0.1)
        moves += balancer.decide([source, target], 5.0 * i)
    assert moves == []


def test_overload_goes_on_after_machines_went() -> None:
    """Nothing is kept of what is gone: no move to it, none from it, and no memory."""
    balancer = BalanceByLoad()
    for i in range(3000):
        name = f"gone{i}"
        assert balancer.decide([machine(name, client(f"x{i}", 1.0), others=2.8)], 5.0 * i) == []
    kept = len(balancer._history._clients) + len(balancer._history._machines)
    assert kept <= RETURN_TIME / 5 + 2


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(0.25, 16), st.lists(st.floats(0, 8), max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_decision_is_never_undone_by_the_next_with_the_same_loads(
    machines: list[tuple[float, list[float]]],
) -> None:
    """Each move is carried out, exactly as predicted; each client moves once at most."""
    balancer = BalanceByLoad()
    where = {
        f"c{i}.{j}": (i, need)
        for i, (_, needs) in enumerate(machines)
        for j, need in enumerate(needs)
    }
    moved: list[str] = []
    for now in range(0, 4000, 5):
        figures = [
            machine(
                f"m{i}",
                *(client(name, need) for name, (at, need) in where.items() if at == i),
                cores=cores,
            )
            for i, (cores, _) in enumerate(machines)
        ]
        worst = {m.name: m.busy / m.cores for m in figures}
        for move in balancer.decide(figures, now):
            moved.append(move.client)
            assert worst[move.source] > OPTIONS.high
            where[move.client] = (int(move.target[1:]), where[move.client][1])
    assert len(moved) == len(set(moved))


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 10)), max_size=60))
def test_peak_is_the_highest_of_the_window(samples: list[tuple[float, float]]) -> None:
    peak = RecentPeak(100.0)
    now = 0.0
    taken: list[tuple[float, float]] = []
    for pause, value in samples:
        now += pause
        peak.add(value, now)
        taken.append((now, value))
        exact = max(v for at, v in taken if now - at <= 100.0)
        slot_more = max(v for at, v in taken if now - at <= 100.0 * 17 / 16)
        assert exact <= peak.at_least(0.0, now) <= slot_more


# Simulation


class Naive(Balancer):
    """Above the mark: the largest client to the least busy machine. No hysteresis, no memory."""

    name = "naive"

    def decide(self, machines: Sequence[MachineLoad], now: float) -> list[Move]:
        ordered = sorted(machines, key=lambda m: (m.busy / m.cores, m.name))
        movable = [c for c in ordered[-1].clients if c.movable]
        if not movable or ordered[-1].busy <= 0.85 * ordered[-1].cores or len(ordered) < 2:
            return []
        largest = max(movable, key=lambda c: (c.need, c.id))
        return [Move(largest.id, ordered[-1].name, ordered[0].name)]


PERIODS = [2.5, 5.0, 10.0, 15.0, 20.0, 40.0, 60.0, 100.0]  # decisions are 5 s apart


def around_a_threshold(
    balancer: type[Balancer], mark: float, swing: float, period: float
) -> Simulation:
    """Two machines in opposite phase, each with four movable clients, and noise."""
    least, most = 4 * (mark - swing) - 2, 4 * (mark + swing) - 2
    machines = [
        SimulatedMachine("a", 4, square(least, most, period)),
        SimulatedMachine("b", 4, square(least, most, period, 0.5)),
    ]
    clients = [SimulatedClient(f"{m}{i}", constant(0.5), m) for m in "ab" for i in range(4)]
    return Simulation(machines, clients, balancer, noise=0.05)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("mark", [OPTIONS.low, OPTIONS.high])
@pytest.mark.parametrize("swing", [0.05, 0.3])
def test_load_that_oscillates_around_a_threshold_moves_nothing(
    mark: float, swing: float, period: float
) -> None:
    """Both machines are as busy on average: no move helps for long."""
    assert around_a_threshold(BalanceByLoad, mark, swing, period).run(4000).made == []


@pytest.mark.parametrize("period", [200.0, 400.0, 1000.0])
def test_who_oscillates_slower_than_the_window_is_followed_but_nobody_returns_soon(
    period: float,
) -> None:
    simulation = around_a_threshold(BalanceByLoad, 0.7, 0.25, period).run(8000)
    assert returns(simulation.made, RETURN_TIME) == []
    changes = 2 * 8000 / period
    assert len(simulation.made) <= changes


@pytest.mark.parametrize("period", [20.0, 100.0, 400.0])
def test_simulation_catches_a_naive_balancer_flapping(period: float) -> None:
    made = around_a_threshold(Naive, OPTIONS.high, 0.3, period).run(4000).made
    assert len(returns(made, RETURN_TIME)) > 10


def test_simulation_catches_flapping_by_late_figures_alone() -> None:
    """Constant loads, no noise: a naive balancer moves until what it did shows."""
    machines = [SimulatedMachine("a", 4, constant(1.0)), SimulatedMachine("b", 4, constant(1.0))]
    clients = [SimulatedClient(f"c{i}", constant(0.8), "a") for i in range(4)]
    assert len(Simulation(machines, clients, BalanceByLoad).run(4000).made) <= 2
    clients = [SimulatedClient(f"c{i}", constant(0.8), "a") for i in range(4)]
    assert len(Simulation(machines, clients, Naive).run(4000).made) > 2


def test_overload_is_solved_in_bounded_time_and_then_nothing_moves() -> None:
    machines = [SimulatedMachine(name, 4) for name in "abcd"]
    clients = [SimulatedClient(f"c{i}", constant(0.7), "a") for i in range(8)]
    simulation = Simulation(machines, clients, BalanceByLoad, noise=0.1).run(400)
    assert all(simulation.share(m) <= OPTIONS.high for m in machines)
    moves = len(simulation.made)
    assert 3 <= moves <= 5
    assert len(simulation.run(10_000).made) == moves


def test_each_step_of_load_costs_at_most_the_moves_that_it_needs() -> None:
    """A machine's other programs want two cores more or less, every ten minutes."""
    levels = tuple((600.0 * i, 3.2 if i % 2 else 1.2) for i in range(20))
    machines = [SimulatedMachine("a", 4, steps(*levels)), SimulatedMachine("b", 4)]
    clients = [SimulatedClient(f"c{i}", constant(0.4), "a") for i in range(4)]
    simulation = Simulation(machines, clients, BalanceByLoad, noise=0.1).run(12_000)
    assert 2 <= len(simulation.made) <= 4
    assert returns(simulation.made, math.inf) == []


def test_client_that_cannot_move_never_moves_even_if_alone_at_fault() -> None:
    machines = [SimulatedMachine("a", 4), SimulatedMachine("b", 4)]
    clients = [
        SimulatedClient("fixed", sine(3.8, 0.2, 300), "a", movable=False),
        SimulatedClient("free", constant(0.5), "a"),
    ]
    simulation = Simulation(machines, clients, BalanceByLoad, noise=0.1).run(5000)
    assert [made.move for made in simulation.made] == [Move("free", "a", "b")]


def test_machine_on_which_nothing_starts_is_not_tried_for_ever() -> None:
    machines = [SimulatedMachine("a", 4, constant(2.0)), SimulatedMachine("b", 4)]
    clients = [SimulatedClient(f"c{i}", constant(1.0), "a") for i in range(2)]
    simulation = Simulation(machines, clients, BalanceByLoad, refused=frozenset("b")).run(6000)
    assert 2 <= len(simulation.made) <= 2 * (6000 / RETURN_TIME + 1)


def test_machine_that_joins_is_used() -> None:
    machines = [
        SimulatedMachine("a", 4, constant(3.0)),
        SimulatedMachine("b", 4, there=lambda now: now > 1000),
    ]
    clients = [SimulatedClient("c", constant(1.0), "a")]
    simulation = Simulation(machines, clients, BalanceByLoad).run(990)
    assert simulation.made == []
    assert [made.move.target for made in simulation.run(150).made] == ["b"]


FAST = (2.5, 5.0, 7.0, 10.0, 30.0, 60.0, 100.0)  # seconds; all within the window
SLOW = (120.0, 200.0, 300.0, 900.0)


def steady_curves(most: float) -> st.SearchStrategy[Curve]:
    cores, period, phase = st.floats(0, most), st.sampled_from(FAST), st.floats(0, 1)
    return st.one_of(
        cores.map(constant),
        st.builds(sine, cores, cores, period, phase),
        st.builds(square, cores, cores, period, phase),
    )


def curves(most: float) -> st.SearchStrategy[Curve]:
    cores, period, phase = st.floats(0, most), st.sampled_from(FAST + SLOW), st.floats(0, 1)
    times = st.lists(st.tuples(st.floats(1, 2500), cores), max_size=4)
    return st.one_of(
        cores.map(constant),
        st.builds(lambda first, rest: steps((0.0, first), *sorted(rest)), cores, times),
        st.builds(sine, cores, cores, period, phase),
        st.builds(square, cores, cores, period, phase),
    )


@st.composite
def scenarios(
    draw: st.DrawFn,
    curves: Callable[[float], st.SearchStrategy[Curve]],
    noises: Sequence[float] = (0.0, 0.05, 0.3),
) -> Simulation:
    def curve(most: float) -> Curve:
        return draw(curves(most))

    machines = []
    for i in range(draw(st.integers(1, 4))):
        cores = draw(st.sampled_from([1.0, 2.0, 4.0, 16.0]))
        machines.append(SimulatedMachine(f"m{i}", cores, curve(cores)))
    clients = [
        SimulatedClient(
            f"c{i}",
            curve(2.0),
            draw(st.sampled_from(machines)).name,
            movable=draw(st.booleans()) or draw(st.booleans()),
        )
        for i in range(draw(st.integers(0, 10)))
    ]
    return Simulation(
        machines,
        clients,
        BalanceByLoad,
        period=draw(st.sampled_from([1.0, 5.0, 10.0])),
        lag=draw(st.integers(0, 2)),
        noise=draw(st.sampled_from(noises)),
        start_time=draw(st.sampled_from([1.0, 4.0, 20.0])),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=25)
@given(scenarios(curves))
def test_whatever_the_loads_nobody_returns_soon_and_moves_are_few(simulation: Simulation) -> None:
    """That only movable clients move, and that all servers agree, the simulation asserts."""
    simulation.run(3000)
    assert returns(simulation.made, RETURN_TIME) == []
    for name in {made.move.client for made in simulation.made}:
        times = [made.at for made in simulation.made if made.move.client == name]
        assert all(b - a >= OPTIONS.residence for a, b in pairwise(times))
    for name in {made.move.source for made in simulation.made}:
        times = [made.at for made in simulation.made if made.move.source == name]
        pause = OPTIONS.settling + OPTIONS.overload_time
        assert all(b - a >= pause for a, b in pairwise(times))


@settings(max_examples=25)
@given(scenarios(steady_curves))
def test_without_a_change_each_client_moves_about_once(simulation: Simulation) -> None:
    """Once more at most: what a client wants shows only where there is enough for it."""
    simulation.run(6000)
    moved = [made.move.client for made in simulation.made]
    assert all(moved.count(name) <= 2 for name in moved)


def constants(most: float) -> st.SearchStrategy[Curve]:
    return st.floats(0, most).map(constant)


@settings(max_examples=25)
@given(scenarios(constants, noises=(0.0,)))
def test_constant_loads_come_to_rest_with_no_move_left_that_would_help(
    simulation: Simulation,
) -> None:
    simulation.run(3000)
    assert all(made.at < 2000 for made in simulation.made)
    moved = {made.move.client for made in simulation.made}
    for source in simulation.machines:
        share = simulation.share(source)
        if not OPTIONS.high + 0.01 < share <= 1.0:  # beyond, what clients want cannot be seen
            continue
        for c in simulation.clients:
            if c.machine != source.name or not c.movable or c.id in moved:
                continue
            need = c.wants(simulation.now)
            for target in simulation.machines:
                after = simulation.share(target) + need / target.cores
                worst = max(after, share - need / source.cores)
                helps = worst < share - OPTIONS.margin - 0.01
                assert target is source or after > OPTIONS.low - 0.01 or not helps


# Options and opening


@pytest.mark.parametrize(
    "options",
    [
        {"high": 1.0},
        {"high": math.nan},
        {"low": 0.0},
        {"low": 0.9},
        {"low": 0.84},
        {"margin": 0.0},
        {"margin": math.inf},
        {"overload_time": 0.5},
        {"window": math.inf},
        {"settling": -1},
        {"settling": 130.0},
        {"residence": 601.0},
        {"return_time": 1e9},
        {"high": "much"},
        {"hihg": 0.9},
    ],
)
def test_options_out_of_bounds_are_refused(options: Mapping[str, object]) -> None:
    with pytest.raises(FlowOptionError, match=next(iter(options))):
        open_balancer("load", options)


def test_balancers_are_opened_by_name() -> None:
    assert isinstance(open_balancer("none"), DoNothing)
    late = open_balancer("load", {"overload_time": "200"})  # a text, as from a command line
    assert isinstance(late, BalanceByLoad)
    assert decide_for(late, [FULL, IDLE], 200)[0][0] == 200


def test_unknown_balancer_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(FlowOptionError, match=r"'best'; there are .*load.*none"):
        open_balancer("best")
    with pytest.raises(FlowOptionError, match="no options, not high"):
        open_balancer("none", {"high": 0.9})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that brings one balancer, and mistakes."""
    (tmp_path / "foreign_balancing.py").write_text(
        "from eventgraph.flows.balancing import DoNothing\n"
        "class Foreign(DoNothing):\n"
        "    name = 'foreign'\n"
        "number = 1\n"
    )
    info = tmp_path / "foreign_balancing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-balancing\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[eventgraph.flows.balancing]\n"
        "foreign = foreign_balancing:Foreign\n"
        "number = foreign_balancing:number\n"
        "missing = foreign_balancing:Missing\n"
        "load = foreign_balancing:Foreign\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("foreign_balancing", None)


def test_packages_bring_their_own_balancers(package: None) -> None:
    assert open_balancer("foreign").name == "foreign"
    for name, why in (
        ("number", "no subclass"),
        ("missing", "Missing"),
        ("load", "several packages"),
    ):
        with pytest.raises(FlowOptionError, match=why):
            open_balancer(name)
