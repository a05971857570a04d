"""The recorder of the conference, for a process of its own: room/mix ==> WavRecorder.

Each time it is started it begins another file.
"""

import os
import time
from pathlib import Path

from sound import FORMAT, RATE, unpack_sound

from eventgraph import Graph
from eventgraph.flows import FlowClient
from eventgraph.flows.nodes import FlowConsumerNode
from rtp.nodes import WavRecorder


async def recorder(graph: Graph, client: FlowClient, scope: str, room: str, directory: str) -> None:
    """Set the recorder up."""
    mix = await client.consume(f"{room}/mix", FORMAT)
    path = Path(directory) / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.wav"
    graph.add_node(WavRecorder(scope, "file", path=path, sample_rate=RATE))
    consumer = FlowConsumerNode(scope, "mix", mix, unpack=unpack_sound)
    graph.add_node(consumer).request_link_up(scope, "file")
