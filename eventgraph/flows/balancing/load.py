"""Balancing by measured need and the machines' spare processing power.

A move has its price: a start, a time of double load, a gap. So the rule is slow on purpose, and
never undoes what it did:

* a target ends at or below the low mark, with the peaks that were seen of it and of the client;
  so it takes a change of more than the band between the marks until it gives something away;
* an overload must have lasted, and nothing is concluded from figures of machines between which
  a client has just moved: what is measured comes late, and shows both of its processes;
* each machine gives or takes one client at a time;
* within the time for returning no client comes back, and no machine that was overloaded takes
  any, whatever the figures say. What oscillates more slowly than the window, and cannot be told
  from a change, is thus followed seldom.

All clients at once onto the machines that suit them best (bin packing) was not chosen: it moves
many for a small gain, and another many after the next change.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from eventgraph.flows.balancing.history import History
from eventgraph.flows.balancing.interface import Balancer, MachineLoad, Move
from eventgraph.flows.balancing.options import LoadOptions
from eventgraph.flows.errors import FlowOptionError


class BalanceByLoad(Balancer):
    """Moves what can be moved from overloaded machines to those with power to spare.

    Machines whose figures are no numbers, or that have no cores, take no part.
    """

    name = "load"

    def __init__(self, options: LoadOptions | None = None) -> None:
        self._options = options or LoadOptions()
        self._history = History(self._options)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """With `LoadOptions`; texts that are numbers are taken as such.

        Raises:
            FlowOptionError: there is no such option, or its bounds are not kept.
        """
        try:
            return cls(msgspec.convert(options, LoadOptions, strict=False))
        except msgspec.ValidationError as error:
            raise FlowOptionError(f"options of the balancer {cls.name}: {error}") from error

    def decide(self, machines: Sequence[MachineLoad], now: float) -> list[Move]:
        """One move for each machine that is overloaded, where one helps; the worst goes first."""
        able = [machine for machine in machines if _is_able(machine)]
        able.sort(key=lambda machine: (-machine.busy / machine.cores, machine.name))
        self._history.observe(able, now)
        moves: list[Move] = []
        for source in able:
            if self._history.is_source(source.name, now):
                move = self._best_move(source, able, now)
                if move is not None:
                    self._history.decided(move, now)
                    moves.append(move)
        return moves

    def _best_move(
        self, source: MachineLoad, machines: Sequence[MachineLoad], now: float
    ) -> Move | None:
        """The move after which the busier of the two is least busy.

        Between equal ones, to the target that is then least busy; then by name.
        """
        history = self._history
        enough = source.busy / source.cores - self._options.margin
        clients = [
            (client, history.peak_need(client, now))
            for client in source.clients
            if client.movable and history.may_leave(client, now)
        ]
        found: list[tuple[float, float, str, str]] = []
        for target in machines:
            if target is source or not history.is_target(target.name, now):
                continue
            busy = history.peak_busy(target, now)
            for client, need in clients:
                share = (busy + need) / target.cores
                worst = max(share, (source.busy - client.need) / source.cores)
                if share <= self._options.low and worst <= enough:
                    found.append((worst, share, target.name, client.id))
        for *_, target_name, client_id in sorted(found):
            if history.may_go_to(client_id, target_name, now):
                return Move(client_id, source.name, target_name)
        return None


def _is_able(machine: MachineLoad) -> bool:
    return math.isfinite(machine.cores) and machine.cores > 0 and math.isfinite(machine.busy)
