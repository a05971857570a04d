"""The demo: two sessions, each a scope of the graph.

    tone:  tone --> fan --> meter
                        --> recorder
                        --> encoder --> sink ==RTP==> listener

    echo:  ==RTP==> source --> fan --> sink ==RTP==> listener
                                   --> decoder --> sound --> meter
                                                         --> recorder

It is written in the node language, in ``demo.graph``, and can be changed like any composition.
Both send to a fixed port of the listener rather than back to whoever sent: ffmpeg receives
on a port of its own, and learns of it from a session description.
"""

import ipaddress
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from eventgraph.language import Composition, LanguageError
from eventgraph.language.format import format_value
from rtp import PCMU, RtpEndpoint, RtpNetwork
from rtp.endpoint_leases import EndpointLeases
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


async def start_demo(
    composition: Composition, endpoints: EndpointLeases, network: RtpNetwork, config: Config
) -> Demo:
    """Open the sessions, then compose the nodes.

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
    endpoints.lend("tone", tone)
    endpoints.lend("echo", echo)
    recordings = Recordings(config.recordings)
    text = demo_text(demo, tone=recordings.create("tone"), echo=recordings.create("echo"))
    try:
        await composition.apply(text)
    except LanguageError as error:
        raise StartError(f"the demo cannot be composed: {error}") from error
    sessions = {
        "echo": _describe("echo", demo, echo_port),
        "tone": _describe("tone", demo, tone_port),
    }
    return Demo(sessions, recordings.paths, echo.address[1])


def demo_text(config: DemoConfig, *, tone: Sequence[Path] = (), echo: Sequence[Path] = ()) -> str:
    """The demo in the node language.

    Args:
        tone, echo: files to record to, one each or none; all in the directory of recordings.
    """
    template = Template(files(__package__).joinpath("demo.graph").read_text())
    text = template.substitute(
        frequency=format_value(config.tone.frequency), level=format_value(config.tone.level)
    )
    recorders = [("fan@tone", "tone", path) for path in tone]
    recorders += [("sound@echo", "echo", path) for path in echo]
    for sender, scope, path in recorders:
        name = format_value(path.name)
        text += f";\n[{sender}] -> [recorder@{scope}:wav_recorder path={name}]"
    return text


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
