"""Load balancing: which client should run on which machine.

From the top down::

    opening                     by name; packages bring their own
    load  none                  the balancers that come with eventgraph
    history  peak  options      of `load`: what it remembers, and its marks and times
    interface                   loads of machines and clients in, moves out
    measurement                 what clients take and how busy the machine is
    cores  processes            what /proc and cgroups say
"""

from eventgraph.flows.balancing.interface import Balancer, ClientLoad, MachineLoad, Move
from eventgraph.flows.balancing.load import BalanceByLoad
from eventgraph.flows.balancing.measurement import LoadMeter, Measurement
from eventgraph.flows.balancing.none import DoNothing
from eventgraph.flows.balancing.opening import open_balancer
from eventgraph.flows.balancing.options import LoadOptions

__all__ = [
    "BalanceByLoad",
    "Balancer",
    "ClientLoad",
    "DoNothing",
    "LoadMeter",
    "LoadOptions",
    "MachineLoad",
    "Measurement",
    "Move",
    "open_balancer",
]
