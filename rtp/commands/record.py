"""``eventgraph record`` and ``replay``: what passed on a running server happens again."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from rtp.errors import RtpError

Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=3600))]
Tail = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=3600))]


class RecordError(RtpError):
    """A file cannot be written or read, or the arguments make no sense."""


def add_record_commands(app: App, default_url: str) -> None:
    """Add them; `record` asks the server at `default_url` unless told otherwise."""

    @app.command(sort_key=5)
    def record(
        *nodes_and_file: str,
        also: list[str] | None = None,
        seconds: Seconds = 3600.0,
        url: str = default_url,
    ) -> int:
        """Record what is delivered to a node of a running server, until Ctrl-C: NODE FILE.

        Or what passes one link: SENDER RECEIVER FILE. The graph never waits for it. Whatever
        happens, the file can be replayed up to the last event that was written whole.
        A token that the server wants is read from the environment variable EVENTGRAPH_TOKEN.

        Parameters
        ----------
        nodes_and_file
            One or two nodes, as NAME@SCOPE, and a file; one that exists is replaced.
        also
            Another node of which all input is recorded into the same file; more than once, if
            need be.
        seconds
            How long at most.
        url
            Where the server is.
        """
        if not 2 <= len(nodes_and_file) <= 3:
            raise RecordError("give NODE FILE, or SENDER RECEIVER FILE")
        *nodes, file = nodes_and_file
        return record_events(nodes, also or [], Path(file), seconds, url)

    @app.command(sort_key=6)
    def replay(
        file: Path,
        graph: Path,
        /,
        *,
        output: Annotated[Path | None, Parameter(alias="-o")] = None,
        tail: Tail = 1.0,
    ) -> int:
        """Replay a recording into a graph, on a virtual clock: each time with the same result.

        The text describes the receivers of the recording, and all behind them; its senders are
        there, and are mentioned without a type. No server is asked.

        Parameters
        ----------
        file
            The recording.
        graph
            A text of the node language.
        output
            Record all that passes into this file. Two replays are the same to the byte.
        tail
            Seconds that go on after the last event.
        """
        return replay_file(file, graph, output, tail)


def record_events(nodes: list[str], also: list[str], file: Path, seconds: float, url: str) -> int:
    """Raises: RtpError."""
    from eventgraph.replay import Recording
    from rtp.node_address import parse_address
    from rtp.recorded_objects import media_objects
    from rtp.remote.record import fetch_recording

    *sender, receiver = map(parse_address, nodes)
    links = [(sender[0] if sender else None, receiver), *((None, parse_address(x)) for x in also)]
    token = os.environ.get("EVENTGRAPH_TOKEN", "")
    pieces = fetch_recording(url, links, token, seconds=seconds)
    first = next(pieces, b"")  # before a file is replaced: nobody may answer
    interrupted = False
    try:
        with file.open("wb", buffering=0) as out:
            out.write(first)
            try:
                for piece in pieces:
                    out.write(piece)
            except KeyboardInterrupt:
                interrupted = True
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}") from error
    recording = Recording(file, media_objects())
    events = sum(1 for _ in recording)
    end = recording.end
    missing = "" if end is None else _missing(end.dropped, end.unrecordable)
    print(f"{file}: {events:,} events{missing}")
    if end is None and not interrupted:
        raise RecordError(f"{file} was cut off: the server has gone")
    return 0


def replay_file(file: Path, graph: Path, output: Path | None, tail: float) -> int:
    """Raises: RtpError."""
    from rtp.replaying import ReplayError, replay

    try:
        text = graph.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{graph}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{graph}: is not UTF-8") from error
    if output is not None and output.resolve() in {file.resolve(), graph.resolve()}:
        raise RecordError(f"{output} is what is to be read; give another file")
    try:
        if output is None:
            result = replay(file, text, tail=tail)
        else:
            with output.open("wb") as out:
                result = replay(file, text, output=out.write, tail=tail)
    except ReplayError as error:
        raise RecordError(f"{file} into {graph}: {error}") from error
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from error
    if result.recorded is None:
        sys.stderr.write(f"{file} was cut off: replayed up to its last whole event\n")
    refused = sum(result.refused.values())
    crashes = f", {result.crashes} crashes" if result.crashes else ""
    print(f"{result.delivered:,} events delivered, {refused:,} refused{crashes}")
    passed = result.passed
    print(f"{passed.events:,} passed in all{_missing(passed.dropped, passed.unrecordable)}")
    print(f"sha256 {result.digest}")
    return 0


def _missing(dropped: int, unrecordable: dict[str, int]) -> str:
    text = f", {dropped:,} dropped" if dropped else ""
    if unrecordable:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(unrecordable.items()))
        text += f"; not recorded, for they cannot be: {kinds}"
    return text
