"""Machines and clients in virtual time, for balancers to show what they do.

What is modelled: needs that are noisy, step and oscillate; a machine that has too much to do
shares what it has, so that a client takes less than it wants; figures that are averages, smoothed
and late; moves that cost a start (with a burst of its own), during which both of a client's
processes run. Each machine's server decides by itself, with a balancer of its own and the
machines in an order of its own, and carries out the moves of its own clients.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from eventgraph.flows.balancing import Balancer, ClientLoad, MachineLoad, Move

Curve = Callable[[float], float]  # seconds -> cores


def constant(cores: float) -> Curve:
    return lambda now: cores


IDLE = constant(0.0)


def steps(*levels: tuple[float, float]) -> Curve:
    """From each second on, that many cores."""
    return lambda now: [cores for since, cores in levels if since <= now][-1]


def sine(mean: float, swing: float, period: float, phase: float = 0.0) -> Curve:
    return lambda now: max(0.0, mean + swing * math.sin(2 * math.pi * (now / period + phase)))


def square(low: float, high: float, period: float, phase: float = 0.0) -> Curve:
    return lambda now: high if (now / period + phase) % 1 < 0.5 else low


@dataclass
class SimulatedClient:
    id: str
    wants: Curve
    machine: str
    movable: bool = True
    begun: float = -1e6  # when it came to its machine
    target: str | None = None  # where it is being started
    starts_until: float = 0.0
    used: float = 0.0  # cores x seconds since the last figures
    used_at_target: float = 0.0


@dataclass
class SimulatedMachine:
    name: str
    cores: float
    others: Curve = IDLE  # what programs that are not ours want
    there: Callable[[float], bool] = lambda now: True
    used: float = 0.0


@dataclass(frozen=True)
class Made:
    """A move that was carried out."""

    at: float
    move: Move


@dataclass
class Simulation:
    """All times in seconds; `figures` is what the servers see."""

    machines: list[SimulatedMachine]
    clients: list[SimulatedClient]
    balancer: Callable[[], Balancer]
    period: float = 5.0  # between two decisions
    lag: int = 1  # periods that figures are late
    smoothing: float = 10.0  # time constant of the average
    noise: float = 0.0  # standard deviation, a share of each need, anew each second
    start_time: float = 4.0
    start_need: float = 0.5  # cores that a client wants while it starts
    refused: frozenset[str] = frozenset()  # machines on which nothing can be started
    seed: int = 0
    made: list[Made] = field(default_factory=list)
    stale: list[Made] = field(default_factory=list)  # decided for a client that moves, or is gone
    now: float = 0.0

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._balancers = {machine.name: self.balancer() for machine in self.machines}
        self._average: dict[tuple[str, str], float] = {}
        self._late: deque[list[MachineLoad]] = deque(maxlen=self.lag + 1)

    def run(self, seconds: float) -> "Simulation":
        for _ in range(int(seconds)):
            self._second()
            if self.now % self.period == 0:
                self._decide()
        return self

    def share(self, machine: SimulatedMachine) -> float:
        """What is really wanted of a machine now, of what it has."""
        wanted = machine.others(self.now)
        wanted += sum(c.wants(self.now) for c in self.clients if c.machine == machine.name)
        return wanted / machine.cores

    def _second(self) -> None:
        self.now += 1.0
        for client in self.clients:
            if client.target is not None and client.starts_until <= self.now:
                if client.target not in self.refused:
                    client.machine, client.begun = client.target, self.now
                client.target = None
        for machine in self.machines:
            here = [c for c in self.clients if c.machine == machine.name]
            starting = [c for c in self.clients if c.target == machine.name]
            wants = [self._noisy(c.wants(self.now)) for c in here]
            others = self._noisy(machine.others(self.now))
            wanted = others + sum(wants) + self.start_need * len(starting)
            part = min(1.0, machine.cores / wanted) if wanted else 0.0
            for client, want in zip(here, wants, strict=True):
                client.used += want * part
            for client in starting:
                client.used_at_target += self.start_need * part
            machine.used += wanted * part

    def _noisy(self, want: float) -> float:
        return max(0.0, want * self._random.gauss(1.0, self.noise)) if self.noise else want

    def _decide(self) -> None:
        self._late.append([self._figures(m) for m in self.machines if m.there(self.now)])
        for client in self.clients:
            client.used = client.used_at_target = 0.0
        for machine in self.machines:
            machine.used = 0.0
        figures = self._late[0]
        decisions = []
        for name, balancer in sorted(self._balancers.items()):
            moves = balancer.decide(self._random.sample(figures, len(figures)), self.now)
            decisions.append(moves)
            for move in moves:
                if move.source == name:
                    self._start(move)
        assert all(moves == decisions[0] for moves in decisions), "servers decide alike"

    def _figures(self, machine: SimulatedMachine) -> MachineLoad:
        clients = []
        for client in self.clients:
            if machine.name not in (client.machine, client.target):
                continue
            is_new = machine.name == client.target
            used = client.used_at_target if is_new else client.used
            begun = client.starts_until - self.start_time if is_new else client.begun
            need = self._smooth((client.id, machine.name), used / self.period)
            clients.append(ClientLoad(client.id, need, client.movable, self.now - begun))
        busy = self._smooth(("", machine.name), machine.used / self.period)
        return MachineLoad(machine.name, machine.cores, busy, tuple(clients))

    def _smooth(self, key: tuple[str, str], value: float) -> float:
        weight = -math.expm1(-self.period / self.smoothing)
        average = self._average.get(key, value)
        self._average[key] = average + weight * (value - average)
        return self._average[key]

    def _start(self, move: Move) -> None:
        client = next(c for c in self.clients if c.id == move.client)
        assert client.movable, "only what declares that it can be moved"
        assert move.target in self._balancers
        if client.machine != move.source or client.target is not None:
            self.stale.append(Made(self.now, move))
            return
        self.made.append(Made(self.now, move))
        client.target, client.starts_until = move.target, self.now + self.start_time


def returns(made: list[Made], within: float) -> list[Made]:
    """Moves that brought a client back to where it had left less than ``within`` seconds ago."""
    return [
        back
        for i, back in enumerate(made)
        for earlier in made[:i]
        if earlier.move.client == back.move.client
        and earlier.move.source == back.move.target
        and back.at - earlier.at < within
    ]
