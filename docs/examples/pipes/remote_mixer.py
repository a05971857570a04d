"""A conference whose phones are on one machine and whose mixer is on another.

    python remote_mixer.py edge REGISTRY HOST NAME:PORT[:LISTENER:PORT] ...
    python remote_mixer.py mixer REGISTRY HOST

The edge takes PCMU by RTP at a port for each party. It answers where that came from, or sends to
a LISTENER. Everyone hears all the others. HOST is the address of this machine that the other
reaches it at; REGISTRY is etcd://host:2379, or embedded: if both are on one machine.

    edge                                    mixer
    RtpSource > Tag > DestinationNode =voices=> GroupNode > Room > MixerInput > AudioMixer
    RtpSink < Router <      GroupNode <=mixes== DestinationNode < Tag < G711Encoder <

Packets travel whole, each with the name of its party. Their sequence numbers and timestamps are
those of the phone, so the jitter buffer of its MixerInput levels the whole way: the network of
the phone, the edge and the pipe. Sound that is late is worth nothing: at_most_once, drop oldest.

The edge says once a second who is there. So a mixer that was killed needs nothing from the one
before: start another, on any machine. Or have one stand by: it takes over by itself.
"""

import sys

import msgspec
import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.pipes import (
    Binding,
    DestinationNode,
    DestinationOptions,
    GroupNode,
    Overflow,
    PipeError,
    Pipes,
    open_pipes,
)
from rtp import PCMU, RTP, RtpNetwork
from rtp.nodes import AudioMixer, G711Encoder, MixerInput, RtpSink, RtpSource
from rtp.packet import RtpPacket, parse_packet

HERE = 100  # a party is there, whether or not it speaks
HERE_EVERY, GONE_AFTER = 1.0, 5.0  # seconds
MAX_PARTIES = 64
MIXER = Address("room", "mixer")
TTL = 2.0  # seconds until a standby may take over from one that was killed
MEDIA = DestinationOptions(overflow=Overflow.DROP_OLDEST, queue_size=200)


class Tagged(msgspec.Struct, frozen=True, array_like=True):
    """What travels between the machines: a packet, and whose it is."""

    party: str
    packet: bytes = b""

    @property
    def event(self) -> Event | None:
        """The packet as an event within one machine; None if it is none."""
        packet = parse_packet(self.packet)
        return Event(RTP, packet) if isinstance(packet, RtpPacket) else None


class Tag(Node):
    """Puts the name of its scope to each packet."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            tagged = Tagged(self.scope, event.obj.data)
            self._delegate.broadcast(Event(RTP, tagged))


class Router(Node):
    """At the edge: gives each party's mix to its sink."""

    max_links = MAX_PARTIES

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._sinks: dict[str, int] = {}

    def on_link_up(self, link_id: int, scope: str, _name: str) -> None:
        self._sinks[scope] = link_id

    def on_event(self, event: Event) -> None:
        link, packet = self._sinks.get(event.obj.party), event.obj.event
        if link is not None and packet is not None:
            self._delegate.deliver(link, packet)


class Seat:
    """A party's nodes at the mixer."""

    def __init__(self, graph: Graph, party: str, room: NodeDelegate, number: int) -> None:
        voice, encoder, tag = (f"{name}-{number}" for name in ("in", "encoder", "tag"))
        self._nodes = [
            graph.add_node(MixerInput(party, voice)),
            graph.add_node(G711Encoder(party, encoder)),
            graph.add_node(Tag(party, tag)),
        ]
        self.link = room.request_link_up(party, voice)
        self._nodes[0].request_link_up("room", "mixer")
        graph.link_up(MIXER, self._nodes[1].address)
        self._nodes[1].request_link_up(party, tag)
        self._nodes[2].request_link_up("room", "mixes")
        self.heard = trio.current_time()

    def leave(self) -> None:
        for node in self._nodes:
            node.request_exit()


class Room(Node):
    """At the mixer: a seat for each party that is heard of, and its packets to it."""

    max_links = MAX_PARTIES

    def __init__(self, scope: str, name: str, graph: Graph) -> None:
        super().__init__(scope, name)
        self._graph = graph
        self._seats: dict[str, Seat] = {}
        self._number = 0

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        now, tagged = trio.current_time(), event.obj
        seat = self._seats.get(tagged.party)
        if seat is None and len(self._seats) < MAX_PARTIES:
            self._number += 1
            seat = Seat(self._graph, tagged.party, self._delegate, self._number)
            self._seats[tagged.party] = seat
        if seat is not None:
            seat.heard = now
            if event.cmd == RTP and (packet := tagged.event) is not None:
                self._delegate.deliver(seat.link, packet)
        for party in [p for p, seat in self._seats.items() if now - seat.heard > GONE_AFTER]:
            self._seats.pop(party).leave()


async def edge(pipes: Pipes, host: str, parties: list[str]) -> None:
    # Standing by: a killed edge may still stand in the registry for TTL seconds.
    voices = await pipes.register("voices", MEDIA, standby=True)
    mixes = await pipes.join("mixes", "edges", payload_type=Tagged)
    async with RtpNetwork() as network, Graph() as graph:
        graph.add_node(DestinationNode("edge", "voices", voices))
        router = graph.add_node(Router("edge", "router"))
        graph.add_node(GroupNode("edge", "mixes", mixes)).request_link_up("edge", "router")
        for text in parties:
            name, port, *listener = text.split(":")
            remote = (listener[0], int(listener[1])) if listener else None
            endpoint = network.open(
                {0: PCMU}, host=host, port=int(port), remote_rtp=remote, learn=True
            )
            source = graph.add_node(RtpSource(name, "source", endpoint))
            tag = graph.add_node(Tag(name, "tag"))
            graph.add_node(RtpSink(name, "sink", endpoint))
            source.request_link_up(name, "tag")
            tag.request_link_up("edge", "voices")
            graph.link_up(router.address, Address(name, "sink"))
        print("the edge is up", flush=True)
        while True:
            for text in parties:
                voices.deliver(Event(HERE, Tagged(text.split(":")[0])))
            await trio.sleep(HERE_EVERY)


async def mixer(pipes: Pipes) -> None:
    # The mixes first: one that stands by must not take voices.
    mixes = await pipes.register("mixes", MEDIA, standby=True)
    voices = await pipes.join("voices", "mixers", payload_type=Tagged)
    async with Graph() as graph:
        graph.add_node(DestinationNode("room", "mixes", mixes))
        graph.add_node(AudioMixer("room", "mixer"))
        graph.add_node(Room("room", "room", graph))
        graph.add_node(GroupNode("room", "voices", voices)).request_link_up("room", "room")
        print("the mixer is up", flush=True)
        await trio.sleep_forever()


async def main(role: str, registry: str, host: str, *parties: str) -> None:
    async with open_pipes(registry, binding=Binding(host=host), ttl=TTL) as pipes:
        await (edge(pipes, host, list(parties)) if role == "edge" else mixer(pipes))


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("edge", "mixer"):
        sys.exit(__doc__)
    try:
        trio.run(lambda: main(*sys.argv[1:]))
    except* PipeError as errors:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in errors.exceptions))
    except* KeyboardInterrupt:
        pass
