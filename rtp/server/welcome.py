"""What the server prints once it is up: where it is, and what to do next."""

from pathlib import Path
from typing import NamedTuple

from .token import VARIABLE

SINE = "sine=frequency=440:sample_rate=8000:samples_per_frame=160"
"""Of ffmpeg's lavfi: 20 ms a packet, -18 dBFS."""


class Running(NamedTuple):
    """A server that is up.

    Attributes:
        version: of the package.
        url: of the HTTP edge.
        rtp_host: where RTP is taken.
        echo_port: None without the demo.
        recordings: the files being written.
        guarded: whether clients must show a token.
    """

    version: str
    url: str
    rtp_host: str
    echo_port: int | None
    recordings: list[Path]
    guarded: bool = False


def welcome(running: Running, default_url: str) -> str:
    """The text, with lines to copy; `default_url` is where the command line looks anyway."""
    option = "" if running.url == default_url else f" --url {running.url}"
    lines = [
        f"eventgraph {running.version} is up; Ctrl-C ends it.",
        "",
        f"  page        {running.url}/",
        f"  graph       {running.url}/graph",
        f"              eventgraph graph{option}",
    ]
    if running.guarded:
        lines.append(
            f"  token       asked for by the page; the lines here read it from ${VARIABLE}"
        )
    for title, path in zip(["recordings", ""], running.recordings, strict=False):
        lines.append(f"  {title:<10}  {path}")
    if running.echo_port is not None:
        lines += [
            "",
            "Send it a tone of 440 Hz:",
            f"  {send_line(running.rtp_host, running.echo_port)}",
            "",
            "Hear it come back:",
            f"  {listen_line(running.url, 'echo', guarded=running.guarded)}",
            "",
            "Hear the server's own tone:",
            f"  {listen_line(running.url, 'tone', guarded=running.guarded)}",
        ]
    return "\n".join(lines) + "\n"


def send_line(host: str, port: int) -> str:
    """An ffmpeg command that sends 440 Hz as PCMU, in real time."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    target = f"[{host}]" if ":" in host else host
    return f"ffmpeg -hide_banner -re -f lavfi -i {SINE} -c:a pcm_mulaw -f rtp rtp://{target}:{port}"


def listen_line(url: str, session: str, *, guarded: bool = False) -> str:
    """An ffplay command that plays a session of the server."""
    header = f'-headers "Authorization: Bearer ${VARIABLE}" ' if guarded else ""
    protocols = "https,tls,tcp,udp,rtp" if url.startswith("https:") else "http,tcp,udp,rtp"
    return (
        f"ffplay -hide_banner -nodisp -protocol_whitelist {protocols} {header}"
        f"{url}/sessions/{session}.sdp"
    )
