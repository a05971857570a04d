"""The mixer of the conference, for a process of its own.

    */voice ==> Router > MixerInput > AudioMixer > ==> {party}/mix   for each, without its own
                                                 > ==> room/mix      all together

Who has a flow ``{party}/voice`` is in the room. So a mixer that was killed needs nothing from the
one before it: the voices are still there, and who wants a mix gets it from the next.
"""

import trio
from sound import FORMAT, RATE, SoundPacker, unpack_frame

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.flows import Block, Consumer, FlowClient
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from rtp.media import PCM
from rtp.nodes import AudioMixer, MixerInput

LOOK_EVERY = 0.1  # seconds
MAX_PARTIES = 64


class Router(Node):
    """Gives each frame to the input of its party."""

    max_links = MAX_PARTIES
    channel_size = 4 * MAX_PARTIES

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._inputs: dict[str, int] = {}

    def on_link_up(self, link_id: int, scope: str, _name: str) -> None:
        self._inputs[scope] = link_id

    def on_link_down(self, _link_id: int, scope: str, _name: str) -> None:
        self._inputs.pop(scope, None)

    def on_event(self, event: Event) -> None:
        party, frame = event.obj
        if party in self._inputs:
            self._delegate.deliver(self._inputs[party], Event(PCM, frame))


class Doorkeeper(Node):
    """Gives everybody who has a voice a seat: an input, and a mix."""

    def __init__(
        self, scope: str, name: str, graph: Graph, client: FlowClient, voices: Consumer
    ) -> None:
        super().__init__(scope, name)
        self._graph = graph
        self._client = client
        self._voices = voices
        self._seats: dict[str, list[NodeDelegate]] = {}

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        delegate.deliver_self(Event(0))

    async def on_event(self, _event: Event) -> None:
        here = {source.key.group for source in self._voices.sources}
        for party in sorted(here - self._seats.keys())[: MAX_PARTIES - len(self._seats)]:
            await self._seat(party)
        for party in self._seats.keys() - here:
            for node in self._seats.pop(party):
                node.request_exit()
                await node.wait_exited()
        await trio.sleep(LOOK_EVERY)
        self._delegate.deliver_self(Event(0))

    async def _seat(self, party: str) -> None:
        mix = await self._client.provide(f"{party}/mix", FORMAT)
        voice = self._graph.add_node(MixerInput(party, "in", sample_rate=RATE))
        out = self._graph.add_node(FlowProviderNode(party, "mix", mix, pack=SoundPacker()))
        self._graph.link_up(Address(self.scope, "router"), voice.address)
        voice.request_link_up(self.scope, "mixer")
        self._graph.link_up(Address(self.scope, "mixer"), out.address)
        self._seats[party] = [voice, out]


def unpack_voice(block: Block) -> Event:
    """A frame, and whose it is."""
    return Event(PCM, (block.key.group, unpack_frame(block)))


async def mixer(graph: Graph, client: FlowClient, scope: str) -> None:
    """Set the room up."""
    everything = await client.provide(f"{scope}/mix", FORMAT)
    voices = await client.consume("*/voice", FORMAT)
    graph.add_node(FlowProviderNode(scope, "mix", everything, pack=SoundPacker()))
    graph.add_node(AudioMixer(scope, "mixer", sample_rate=RATE)).request_link_up(scope, "mix")
    graph.add_node(Router(scope, "router"))
    graph.add_node(Doorkeeper(scope, "doorkeeper", graph, client, voices))
    consumer = FlowConsumerNode(scope, "voices", voices, unpack=unpack_voice)
    graph.add_node(consumer).request_link_up(scope, "router")
