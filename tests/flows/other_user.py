"""What another user of the machine can do with a server that is not theirs.

Usage, as root: python -m tests.flows.other_user BASE OWN
Prints as JSON what came of each attempt on the server in BASE. Then listens on a stream of
packets at OWN, where all may connect, until stdin ends.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from eventgraph.flows.place.directory import RuntimeDirectory
from tests.flows.place_program import REALM

NOBODY = 65534


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(os.fspath(path))


def outcome(attempt: Callable[[], object]) -> str:
    try:
        return repr(attempt())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(base: Path, own: Path) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    directory = RuntimeDirectory(base, REALM)
    attempts: dict[str, Callable[[], object]] = {
        "connect": directory.connect,
        "occupy": directory.occupy,
        "server_pid": directory.server_pid,
        "bare connect": lambda: connect(directory.path / "socket"),
        "list": lambda: os.listdir(directory.path),
        "list applications": lambda: os.listdir(directory.path.parent),
        "read pid": (directory.path / "pid").read_text,
    }
    outcomes = {name: outcome(attempt) for name, attempt in attempts.items()}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.fspath(own))
        own.chmod(0o777)
        listener.listen()
        print(json.dumps(outcomes), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
