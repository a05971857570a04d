"""Map: who feeds whom, as a picture. Pure functions of a `Listing`.

Clients and flows are the boxes, and stand in those of their machines; arrows lead from a client to
what it provides, from there to who consumes it, and from a flow to the same flow on another
machine. `eventgraph.flows.map_views` makes texts and drawings of it.
"""

from typing import Final

import msgspec

from eventgraph.flows.listing import ClientListing, FlowListing, Listing, MachineListing

CLIENT: Final = "client"
CONVERTER: Final = "converter"
FLOW: Final = "flow"
BROUGHT: Final = "brought"
ELSEWHERE: Final = "elsewhere"


class Box(msgspec.Struct, frozen=True):
    """A client or a flow.

    Attributes:
        id: unlike all others of its map.
        subject: id of the client or of the flow.
        machine: where it stands.
        kind: ``client``; ``converter``; ``flow``; ``brought``: a flow from another machine;
            ``elsewhere``: machines of which nothing more is known here.
        state: ``running``, ``stopped`` or ``obsolete``; of clients always the first.
        about: what else is to be said.
    """

    id: str
    subject: str
    machine: str
    kind: str
    name: str
    state: str = "running"
    about: tuple[str, ...] = ()


class Arrow(msgspec.Struct, frozen=True):
    """From who feeds to who is fed.

    Attributes:
        label: what the one that is fed has said: ``STOP`` or ``START``, or empty.
        carried: whether it leads to another machine.
    """

    sender: str
    receiver: str
    label: str = ""
    carried: bool = False


class FlowMap(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        machines: by name, with why there is nothing more to be said of one, if so.
    """

    machines: dict[str, str]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def draw(listing: Listing) -> FlowMap:
    """Make the picture of what there is."""
    drawing = _Drawing()
    for machine in listing.machines:
        drawing.add_machine(machine)
    for machine, flow in listing.flows():
        drawing.add_consumers(machine.name, flow)
    for machine, flow in listing.flows():
        if flow.origin:
            drawing.add_origin(machine.name, flow)
    machines = {machine.name: machine.problem for machine in listing.machines}
    return FlowMap(machines, tuple(drawing.boxes.values()), tuple(drawing.arrows.values()))


class _Drawing:
    """In the making: first the boxes, then what leads from one to the other."""

    def __init__(self) -> None:
        self.boxes: dict[tuple[str, str, str], Box] = {}
        self.arrows: dict[tuple[str, str], Arrow] = {}
        self._carried: set[tuple[str, str]] = set()  # origins and flows

    def add_machine(self, machine: MachineListing) -> None:
        """Its clients, and what they provide."""
        converters = {flow.client for flow in machine.flows if flow.variant}
        for client in machine.clients:
            kind = CONVERTER if client.id in converters else CLIENT
            about = *_about_client(client), *_about_waiting(machine, client)
            self._box(machine.name, kind, client.id, client.name, about=about)
        for flow in machine.flows:
            box = self._flow(machine.name, flow)
            if flow.origin:
                self._carried.add((flow.origin, flow.flow))
            else:
                kind = CONVERTER if flow.variant else CLIENT
                client_box = self._box(machine.name, kind, flow.client, flow.provider)
                self._lead(client_box, box)

    def add_consumers(self, machine: str, flow: FlowListing) -> None:
        """Who takes a flow here; what other machines take leads to where they have it."""
        sender = self.boxes[machine, FLOW, flow.flow]
        for consumer in flow.consumers:
            label = {"stopped": "STOP", "started": "START"}.get(consumer.signal, "")
            if consumer.client:
                taker = self._box(machine, CLIENT, consumer.client, consumer.name)
                self._lead(sender, taker, label)
            elif (machine, flow.flow) not in self._carried:
                taker = self._box(machine, ELSEWHERE, "", consumer.name)
                self._lead(sender, taker, label, carried=True)

    def add_origin(self, machine: str, flow: FlowListing) -> None:
        """From where a flow was brought in."""
        origin = self.boxes.get((flow.origin, FLOW, flow.flow)) or self._box(
            flow.origin, ELSEWHERE, "", f"machine {flow.origin}"
        )
        self._lead(origin, self.boxes[machine, FLOW, flow.flow], carried=True)

    def _flow(self, machine: str, flow: FlowListing) -> Box:
        about = [str(flow.format)]
        if flow.variant:
            about.append("converted")
        if flow.origin:
            about.append(f"brought in from {flow.origin}")
        state = "running"
        if flow.obsolete:
            state = "obsolete"
            about.append("another has taken over")
        elif not flow.running and not flow.origin:
            state = "stopped"
            names = ", ".join(flow.stopped_by)
            about.append(f"stopped by {names}" if names else "waits for clients to START it")
        kind = BROUGHT if flow.origin else FLOW
        return self._box(machine, kind, flow.flow, str(flow.key), state=state, about=tuple(about))

    def _lead(self, sender: Box, receiver: Box, label: str = "", *, carried: bool = False) -> None:
        ends = sender.id, receiver.id
        self.arrows.setdefault(ends, Arrow(*ends, label, carried))

    def _box(
        self,
        machine: str,
        kind: str,
        subject: str,
        name: str,
        *,
        state: str = "running",
        about: tuple[str, ...] = (),
    ) -> Box:
        """The box of a subject, made when it is mentioned first."""
        key = machine, FLOW if kind in (FLOW, BROUGHT) else CLIENT, subject
        if key not in self.boxes:
            id = f"n{len(self.boxes)}"
            self.boxes[key] = Box(id, subject, machine, kind, name, state, about)
        return self.boxes[key]


def _about_waiting(machine: MachineListing, client: ClientListing) -> list[str]:
    return [
        f"waits for {one.pattern}" + (f" as {one.format}" if one.format is not None else "")
        for one in machine.waiting
        if one.client == client.id
    ]


def _about_client(client: ClientListing) -> tuple[str, ...]:
    about = [f"pid {client.pid}"] if client.pid else []
    if client.launched:
        about.append("movable" if client.movable else "started by the server")
    if client.restarts:
        about.append(f"started again: {client.restarts}")
    if client.problem:
        about.append(client.problem)
    return tuple(about)
