"""The commands of ``eventgraph``, and what they take."""

import faulthandler
import gc
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter, validators

from rtp.commands.latency import add_latency_command
from rtp.commands.log import LogLevel, add_log_commands
from rtp.commands.record import add_record_commands
from rtp.commands.tap import add_tap_commands
from rtp.commands.text import add_text_commands
from rtp.commands.token import token
from rtp.commands.top import add_top_command
from rtp.errors import RtpError
from rtp.flows.commands import flows
from rtp.pipes.commands import pipes

if TYPE_CHECKING:
    from rtp.server.config import Config
    from rtp.server.welcome import Running

DEFAULT_URL: Final = "http://127.0.0.1:8080"

SWITCH_INTERVAL: Final = 0.0005
"""Seconds until a thread of Python that has work lets another one go on; 5 ms otherwise. The event
loop gives way with each packet that it reads or sends, and while WebRTC's thread is at work would
wait as long to be let on again: 40 offers at once held a call up for 120 ms."""

STANDARD_ERROR: Final = 2

LogFormat = Literal["text", "json"]
GraphFormat = Literal["text", "mermaid", "dot", "json"]
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

Seconds = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=86400))]


def _version() -> str:
    from importlib.metadata import version

    return f"eventgraph {version('eventgraph')}"


app = App(
    name="eventgraph",
    help="An event-graph messaging runtime for media servers.",
    version=_version,
    help_format="markdown",
)


class CommandError(RtpError):
    """A command cannot do what was asked; the message is one line that says what to do."""


@app.command(sort_key=1)
def serve(
    *,
    config: Annotated[Path | None, Parameter(alias="-c")] = None,
    host: str | None = None,
    port: Port | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    recordings: Path | None = None,
    drain_timeout: Seconds | None = None,
    log_level: LogLevel | None = None,
    log_format: LogFormat | None = None,
) -> int:
    """Start the media server. Ctrl-C ends it.

    Without any option it listens on 127.0.0.1 and runs a demo: a tone, and an RTP session that
    sends back what it gets. It prints how to try both with ffmpeg.
    An option given here wins over the file.

    Parameters
    ----------
    config
        Settings, a TOML file; docs/reference/configuration.md has every key.
    host
        Address of the HTTP edge, such as 127.0.0.1 or ::1. Where others can reach it, it needs a
        token, in the environment variable EVENTGRAPH_TOKEN or the file of settings.
    port
        Port of the HTTP edge; 0 takes any that is free.
    certificate
        Certificate for HTTPS, a PEM file, with those between it and its authority behind it. It is
        read again when it changes.
    key
        Its key, a PEM file without a password.
    recordings
        Directory for WAV files; made if need be.
    drain_timeout
        Seconds for which sessions may go on after the first Ctrl-C or SIGTERM, while no new ones
        are taken. The second cuts them off.
    log_level
        What to log on standard error, this and worse.
    log_format
        As lines for people, or an object of JSON on each line.
    """
    import trio
    from msgspec.structs import replace

    from rtp.server.app import run_server
    from rtp.server.config import ShutdownConfig
    from rtp.server.log import open_log

    sys.setswitchinterval(SWITCH_INTERVAL)
    # What ends the process from outside of Python, such as systemd's watchdog, says where it stood.
    faulthandler.enable(STANDARD_ERROR)
    settings = _settings(
        config,
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        recordings=recordings,
        log_level=log_level,
        log_format=log_format,
    )
    if drain_timeout is not None:
        settings = replace(settings, shutdown=ShutdownConfig(drain_timeout=drain_timeout))
    # The server answers these itself. When it has ended there is nothing left to interrupt:
    # a second Ctrl-C while Python winds up must not print a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with open_log(settings) as log:
        trio.run(partial(run_server, settings, _announce, log))
    return 0


@app.command(sort_key=2)
def graph(
    *,
    url: str = DEFAULT_URL,
    format: GraphFormat = "text",
) -> int:
    """Print the graph of a running server.

    Nodes by scope, with the links between them and what went through each.
    A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

    Parameters
    ----------
    url
        Where the server is.
    format
        As what. For a picture: eventgraph graph --format dot | dot -Tsvg > graph.svg
    """
    from eventgraph import views
    from rtp.remote.graph import fetch_graph

    snapshot = fetch_graph(url, os.environ.get("EVENTGRAPH_TOKEN", ""))
    match format:
        case "text":
            text = views.to_text(snapshot)
        case "mermaid":
            text = views.to_mermaid(snapshot)
        case "dot":
            text = views.to_dot(snapshot)
        case "json":
            text = views.to_json(snapshot).decode() + "\n"
    sys.stdout.write(text)
    return 0


# The benchmarks have a help of their own.
bench = App(name="bench", help_flags=(), version_flags=(), sort_key=3)


@bench.default
def run_benchmarks(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
) -> int:
    """Run the benchmarks of a checkout of the repository; or `latency`, of a running server."""
    here, installed = Path.cwd(), Path(__file__).resolve().parents[1]
    for checkout in (installed, here):
        if (checkout / "benchmarks" / "__main__.py").is_file():
            break
    else:
        raise CommandError(
            "the benchmarks are part of the repository, not of the package; "
            "clone it, and run `make bench` there"
        )
    environment = dict(os.environ)
    paths = [str(checkout), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, "-P", "-m", "benchmarks", *arguments]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


add_latency_command(bench, DEFAULT_URL)
app.command(bench)

add_text_commands(app, DEFAULT_URL)
add_tap_commands(app, DEFAULT_URL)
add_record_commands(app, DEFAULT_URL)
app.command(token, sort_key=20)
add_log_commands(app, DEFAULT_URL)
add_top_command(app, DEFAULT_URL)
app.command(pipes)
app.command(flows)


def _settings(
    path: Path | None,
    *,
    host: str | None,
    port: int | None,
    certificate: Path | None,
    key: Path | None,
    recordings: Path | None,
    log_level: LogLevel | None,
    log_format: LogFormat | None,
) -> "Config":
    """The file's settings, and those of the command line instead where there are any."""
    from msgspec.structs import replace

    from rtp.server.config import Config, Host, LogForm, LogLevel
    from rtp.server.config_file import load_config

    settings = Config() if path is None else load_config(path)
    http = settings.http
    if host is not None:
        try:
            http = replace(http, host=Host(host))
        except ValueError as error:
            raise CommandError(f"--host: {error}") from error
    if port is not None:
        http = replace(http, port=port)
    if certificate is not None:
        http = replace(http, certificate=str(certificate))
    if key is not None:
        http = replace(http, key=str(key))
    settings = replace(settings, http=http)
    if recordings is not None:
        changed = replace(settings.recordings, directory=str(recordings))
        settings = replace(settings, recordings=changed)
    if log_level is not None:
        settings = replace(settings, log=replace(settings.log, level=LogLevel(log_level)))
    if log_format is not None:
        settings = replace(settings, log=replace(settings.log, format=LogForm(log_format)))
    return settings


def _announce(running: "Running") -> None:
    from rtp.server.welcome import welcome

    # All that stands now stands until the end: 200,000 objects, of modules mostly. To go through
    # them again and again held every thread up for 0.1 s each time.
    gc.collect()
    gc.freeze()
    try:
        print(welcome(running, DEFAULT_URL), flush=True)
    except OSError:  # nobody reads it: no reason to stop serving
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
