"""What a balancer remembers of machines and clients; pure, time is an argument.

A move is remembered when it was decided, and again when it is seen, whoever made it: a server
that came later, or whose figures were a little older, so keeps to the same rests and bars.
"""

import math
from collections.abc import Sequence

from eventgraph.flows.balancing.interface import ClientLoad, MachineLoad, Move
from eventgraph.flows.balancing.options import LoadOptions
from eventgraph.flows.balancing.peak import RecentPeak


class _Machine:
    __slots__ = ("barred_until", "busy", "over_since", "rests_until", "there_since")

    def __init__(self, window: float, now: float) -> None:
        self.there_since = now
        self.over_since: float | None = None
        self.rests_until = now
        self.barred_until = now
        self.busy = RecentPeak(window)  # cores


class _Client:
    __slots__ = ("barred", "need", "places", "seen", "stays_until")

    def __init__(self, window: float, places: set[str], now: float) -> None:
        self.places = places
        self.seen = now
        self.stays_until = now
        self.barred: dict[str, float] = {}  # machine -> until when
        self.need = RecentPeak(window)  # cores


class History:
    """Since when a machine is overloaded, what moved, and peaks. Forgets what is over."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._machines: dict[str, _Machine] = {}
        self._clients: dict[str, _Client] = {}

    def observe(self, machines: Sequence[MachineLoad], now: float) -> None:
        """Take in the figures of now; machines that are not among them are forgotten."""
        options = self._options
        known = self._machines
        self._machines = {
            load.name: known.get(load.name) or _Machine(options.window, now) for load in machines
        }
        self._observe_places(machines, now)
        for load in machines:
            machine = self._machines[load.name]
            if now < machine.rests_until:  # a client starts or ends: no picture of what comes
                machine.over_since = None
                continue
            machine.busy.add(load.busy, now)
            if load.busy <= options.high * load.cores:
                machine.over_since = None
            elif machine.over_since is None:
                machine.over_since = now
            elif now - machine.over_since >= options.overload_time:
                machine.barred_until = now + options.return_time

    def _observe_places(self, machines: Sequence[MachineLoad], now: float) -> None:
        places: dict[str, set[str]] = {}
        for machine in machines:
            for client in machine.clients:
                places.setdefault(client.id, set()).add(machine.name)
        for name, here in places.items():
            known = self._clients.get(name)
            if known is None:
                known = self._clients[name] = _Client(self._options.window, here, now)
            elif known.places != here:
                self._touch(known, known.places ^ here, known.places, now)
                known.places = here
            known.seen = now
        for machine in machines:
            for client in machine.clients:
                if math.isfinite(client.need):
                    self._clients[client.id].need.add(client.need, now)
        keep = now - self._options.return_time
        self._clients = {name: c for name, c in self._clients.items() if c.seen >= keep}

    def decided(self, move: Move, now: float) -> None:
        """A move will be made."""
        both = {move.source, move.target}
        self._touch(self._clients[move.client], both, both, now)

    def _touch(self, client: _Client, rest: set[str], bar: set[str], now: float) -> None:
        client.stays_until = now + self._options.residence
        client.barred = {name: until for name, until in client.barred.items() if until > now}
        client.barred.update(dict.fromkeys(bar, now + self._options.return_time))
        for name in rest & self._machines.keys():
            self._machines[name].rests_until = now + self._options.settling
            self._machines[name].over_since = None

    def is_source(self, name: str, now: float) -> bool:
        """Whether the machine has been overloaded for long enough."""
        since = self._machines[name].over_since
        return since is not None and now - since >= self._options.overload_time

    def is_target(self, name: str, now: float) -> bool:
        """Whether the machine's peaks are known, nothing just moved, and it was not overloaded."""
        machine = self._machines[name]
        known = now - machine.there_since >= self._options.window
        return known and now >= max(machine.rests_until, machine.barred_until)

    def may_leave(self, load: ClientLoad, now: float) -> bool:
        """Whether the client has been where it is for long enough, and is there alone."""
        client = self._clients[load.id]
        stays = now < client.stays_until or load.since < self._options.residence
        return not stays and len(client.places) == 1

    def may_go_to(self, client: str, machine: str, now: float) -> bool:
        """Whether the client did not just come from there."""
        return self._clients[client].barred.get(machine, now) <= now

    def peak_busy(self, load: MachineLoad, now: float) -> float:
        """Cores; of the window's."""
        return self._machines[load.name].busy.at_least(load.busy, now)

    def peak_need(self, load: ClientLoad, now: float) -> float:
        """Cores; of the window's."""
        return self._clients[load.id].need.at_least(load.need, now)
