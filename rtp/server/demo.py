"""The demo: two sessions, each a scope of the graph.

    tone:  tone --> fan --> meter
                        --> recorder
                        --> encoder --> sink ==RTP==> listener

    echo:  ==RTP==> source --> fan --> sink ==RTP==> listener
                                   --> decoder --> sound --> meter
                                                         --> recorder

Both send to a fixed port of the listener rather than back to whoever sent: ffmpeg receives
on a port of its own, and learns of it from a session description.
"""

import ipaddress
import socket
from collections.abc import Collection
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from eventgraph import Graph, NodeDelegate
from rtp import PCMU, RtpEndpoint, RtpNetwork
from rtp.nodes import (
    G711Decoder,
    G711Encoder,
    LevelMeter,
    PubSub,
    RtpSink,
    RtpSource,
    ToneSource,
    WavRecorder,
)
from rtp.sdp import create_offer

from .config import Config, DemoConfig
from .errors import StartError, reason
from .recordings import Recordings

FORMATS: Final = {0: PCMU}
"""One only: of several in a session description ffmpeg decodes all as if they were the last."""
PORT_ATTEMPTS: Final = 64
"""Each fails if the port is odd, or its neighbour is taken."""


class Demo(NamedTuple):
    """What was started.

    Attributes:
        sessions: session descriptions by name, for who wants to listen.
        recordings: the files being written.
        echo_port: where the echo takes RTP; None if there is no demo.
    """

    sessions: dict[str, str]
    recordings: list[Path]
    echo_port: int | None


NO_DEMO: Final = Demo({}, [], None)


def start_demo(graph: Graph, network: RtpNetwork, config: Config) -> Demo:
    """Open the sessions, then add and link the nodes.

    Raises:
        StartError: a port or a file cannot be had.
    """
    demo = config.demo
    _check_addresses(config)
    echo_port = demo.echo.listener_port or _free_port(
        demo.listener_host, taken={demo.tone.listener_port}
    )
    tone_port = demo.tone.listener_port or _free_port(demo.listener_host, taken={echo_port})
    tone = _open(network, config, 0, tone_port)
    echo = _open(network, config, demo.echo.port, echo_port)
    recordings = Recordings(config.recordings)
    _build_tone(graph, tone, demo, recordings)
    _build_echo(graph, echo, recordings)
    sessions = {
        "echo": _describe("echo", demo, echo_port),
        "tone": _describe("tone", demo, tone_port),
    }
    return Demo(sessions, recordings.paths, echo.address[1])


def _build_tone(
    graph: Graph, endpoint: RtpEndpoint, config: DemoConfig, recordings: Recordings
) -> None:
    tone = graph.add_node(
        ToneSource("tone", "tone", frequency=config.tone.frequency, level=config.tone.level)
    )
    fan = graph.add_node(PubSub("tone", "fan"))
    _link(tone, fan, graph.add_node(LevelMeter("tone", "meter")))
    for path in recordings.create("tone"):
        _link(fan, graph.add_node(WavRecorder("tone", "recorder", path=path)))
    encoder = graph.add_node(G711Encoder("tone", "encoder"))
    _link(fan, encoder, graph.add_node(RtpSink("tone", "sink", endpoint)))


def _build_echo(graph: Graph, endpoint: RtpEndpoint, recordings: Recordings) -> None:
    source = graph.add_node(RtpSource("echo", "source", endpoint))
    fan = graph.add_node(PubSub("echo", "fan"))
    _link(source, fan, graph.add_node(RtpSink("echo", "sink", endpoint)))
    decoder = graph.add_node(G711Decoder("echo", "decoder"))
    sound = graph.add_node(PubSub("echo", "sound"))
    _link(fan, decoder, sound, graph.add_node(LevelMeter("echo", "meter")))
    for path in recordings.create("echo"):
        _link(sound, graph.add_node(WavRecorder("echo", "recorder", path=path)))


def _link(*chain: NodeDelegate) -> None:
    """Link each to the next."""
    for sender, receiver in pairwise(chain):
        sender.request_link_up(receiver.address.scope, receiver.address.name)


def _open(
    network: RtpNetwork,
    config: Config,
    port: int,
    listener_port: int,
) -> RtpEndpoint:
    """A session that sends to the listener, and takes packets from whoever sends first."""
    try:
        return network.open(
            FORMATS,
            host=config.rtp.host,
            port=port,
            remote_rtp=(config.demo.listener_host, listener_port),
            learn=True,
            silence_limit=config.rtp.silence_limit,
        )
    except OSError as error:
        ports = f"ports {port} and {port + 1}" if port else "two free ports side by side"
        raise StartError(
            f"cannot take RTP on {config.rtp.host} {ports}: {reason(error)}; "
            "choose others with demo.echo.port and rtp.host in the configuration file"
        ) from error


def _describe(name: str, config: DemoConfig, port: int) -> str:
    """For a listener: what comes to which of its ports."""
    return create_offer(
        config.listener_host, port, FORMATS, direction="recvonly", name=f"eventgraph {name}"
    )


def _check_addresses(config: Config) -> None:
    hosts = config.rtp.host, config.demo.listener_host
    if len({ipaddress.ip_address(host).version for host in hosts}) > 1:
        raise StartError(
            f"rtp.host is {hosts[0]} and demo.listener_host is {hosts[1]}: "
            "make both IPv4, or both IPv6, in the configuration file"
        )


def _free_port(host: str, taken: Collection[int]) -> int:
    """An even port of this machine that is free with the odd one above.

    It is for a listener, who comes later, so nobody can hold it until then.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(PORT_ATTEMPTS):
        with socket.socket(family, socket.SOCK_DGRAM) as rtp:
            rtp.bind(("", 0))
            port: int = rtp.getsockname()[1]
            if port % 2 or port in taken:
                continue
            with socket.socket(family, socket.SOCK_DGRAM) as rtcp, suppress(OSError):
                rtcp.bind(("", port + 1))
                return port
    raise StartError(
        "there is no free pair of ports for a listener; "
        "choose demo.echo.listener_port and demo.tone.listener_port in the configuration file"
    )
