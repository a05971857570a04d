"""A conference out of three processes: an edge, a mixer and a recorder.

    python conference.py DIRECTORY [HTTP-PORT] NAME:PORT[:LISTENER:PORT] ...

Takes PCMU by RTP at a port for each party. It answers where that came from, or sends to a
LISTENER. With an HTTP-PORT browsers come in, too: POST their offer to /join/NAME, and what is
answered is the answer. Everyone hears all the others; recordings go to the DIRECTORY.

    edge                                     mixer                       recorder
    RtpSource > Playout ==anna/voice==>
    audio-source        ==bert/voice==>      MixerInput > AudioMixer
    RtpSink < AudioEncoder <==anna/mix==                  AudioMixer
    audio-sink             <==bert/mix==                  AudioMixer ==room/mix==> WavRecorder

A mixer or recorder that is killed is started again by the server of flows. Nobody at the edge
notices but by a gap in the sound.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from mixer import mixer
from recorder import recorder
from sound import FORMAT, RATE, SoundPacker, unpack_sound
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from eventgraph import Address, Graph, GraphError, Node, NodeDelegate
from eventgraph.flows import FlowClient, open_flows
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.flows.worker import worker
from rtp import PCMU, RtpNetwork
from rtp.errors import RtpError
from rtp.nodes import AudioEncoder, Playout, RtpSink, RtpSource
from rtp.server.config import HttpConfig
from rtp.server.connections import Connections
from rtp.server.gate import Gate
from rtp.server.http import listen
from rtp.webrtc import WebRtcNetwork

HOST = "127.0.0.1"
ROOM = "room"  # the scope of the mixer


class Edge:
    """Where parties come in, by whatever they come."""

    def __init__(self, graph: Graph, client: FlowClient, webrtc: WebRtcNetwork) -> None:
        self._graph = graph
        self._client = client
        self._webrtc = webrtc

    async def take_rtp(self, network: RtpNetwork, text: str) -> None:
        """Be there for a phone."""
        name, port, *listener = text.split(":")
        remote = (listener[0], int(listener[1])) if listener else None
        endpoint = network.open({0: PCMU}, host=HOST, port=int(port), remote_rtp=remote, learn=True)
        add = self._graph.add_node
        add(RtpSink(name, "sink", endpoint))
        encoder = add(AudioEncoder(name, "encoder", wanted=PCMU, payload_type=0))
        encoder.request_link_up(name, "sink")
        playout = add(Playout(name, "playout", sample_rate=RATE))
        add(RtpSource(name, "source", endpoint)).request_link_up(name, "playout")
        await self._seat(name, playout.address, encoder.address, add)

    async def take_webrtc(self, name: str, offer: str) -> str:
        """Let a browser in; what its offer is answered by."""
        session = self._webrtc.open(name, audio="decoded")
        try:
            answer = await session.accept_offer(offer)
            source, sink = Address(name, "audio-source"), Address(name, "audio-sink")
            await self._seat(name, source, sink, session.add_node)
        except BaseException:
            with trio.CancelScope(shield=True):
                await session.close()
            raise
        return answer

    async def _seat(
        self, name: str, source: Address, sink: Address, add: Callable[[Node], NodeDelegate]
    ) -> None:
        """The flows of a party: from where its sound comes, and to where its mix goes."""
        voice = await self._client.provide(f"{name}/voice", FORMAT)
        mix = await self._client.consume(f"{name}/mix", FORMAT)
        out = add(FlowProviderNode(name, "voice", voice, pack=SoundPacker()))
        self._graph.link_up(source, out.address)
        into = add(FlowConsumerNode(name, "mix", mix, unpack=unpack_sound))
        self._graph.link_up(into.address, sink)


async def serve_http(edge: Edge, port: int) -> None:
    """Let browsers in, until cancelled."""

    async def join(request: Request) -> PlainTextResponse:
        offer = (await request.body()).decode()
        try:
            answer = await edge.take_webrtc(request.path_params["name"], offer)
        except (GraphError, RtpError) as error:
            return PlainTextResponse(str(error), 400)
        return PlainTextResponse(answer, 201, media_type="application/sdp")

    config = HttpConfig(port=port)
    routes = Starlette(routes=[Route("/join/{name}", join, methods=["POST"])])
    with listen(config) as listener:
        await Connections(Gate(routes, config, HOST, None)).serve(listener)


async def main(directory: Path, *parties: str) -> None:
    port = int(parties[0]) if parties[:1] and parties[0].isdecimal() else None
    async with (
        open_flows("conference", name="edge") as client,
        worker(client, mixer, scope=ROOM),
        worker(
            client,
            recorder,
            scope="recorder",
            arguments={"room": ROOM, "directory": directory},
        ),
        RtpNetwork() as network,
        Graph() as graph,
        WebRtcNetwork(graph) as webrtc,
        trio.open_nursery() as nursery,
    ):
        edge = Edge(graph, client, webrtc)
        for party in parties[port is not None :]:
            await edge.take_rtp(network, party)
        if port is not None:
            nursery.start_soon(serve_http, edge, port)
        print("the conference is up", flush=True)
        await client.leaving.wait()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        trio.run(partial(main, Path(sys.argv[1]).absolute(), *sys.argv[2:]))
    except* (GraphError, RtpError, OSError) as errors:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in errors.exceptions))
    except* KeyboardInterrupt:
        pass
