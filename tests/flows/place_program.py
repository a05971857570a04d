"""A server that does nothing but tell its process id to who connects, until SIGTERM.

Usage: python -m tests.flows.place_program [--detach] BASE BEHAVIOUR...
Each behaviour is a step before it is ready; see BEHAVIOURS.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from eventgraph.flows.errors import FlowDirectoryError
from eventgraph.flows.key import Realm
from eventgraph.flows.place.daemon import Report, detach
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.log import MAX_SIZE
from eventgraph.flows.place.place import Place

REALM: Final = Realm("tests", "somebody")


def crash() -> None:
    raise ValueError("no such luck")


def end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def wait() -> None:
    """Until the test says go."""
    while not (Path(sys.argv[2]).parent / "go").exists():
        time.sleep(0.01)


def hang_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def hang_with_child() -> None:
    with subprocess.Popen(["sleep", "600"]):
        hang_deaf()


def chatter() -> None:
    """Says more than anybody wants to keep."""
    while True:
        os.write(2, b"chatter " * 8192 + b"\n")


BEHAVIOURS: Final[dict[str, Callable[[], object]]] = {
    "crash": crash,
    "chatter": chatter,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(600),
    "hang-deaf": hang_deaf,
    "hang-with-child": hang_with_child,
    "leave": lambda: sys.exit(0),
    "wait": wait,
    "say": lambda: print("before it is ready", file=sys.stderr),
}


def serve(place: Place, behaviours: list[str]) -> None:
    print("serving now", flush=True)
    while place.is_ours():
        place.log.trim()
        if select.select([place.listener], [], [], 0.05)[0]:
            connection, _ = place.listener.accept()
            with connection, suppress(BrokenPipeError):
                connection.send(b"%d" % os.getpid())
        if "crash-later" in behaviours:
            crash()
        if "fill-log" in behaviours:
            os.write(1, b"x" * 1023 + b"\n" + b"x" * (MAX_SIZE // 4))


def main(base: Path, report: Report, behaviours: list[str]) -> None:
    signal.signal(signal.SIGTERM, end)
    for behaviour in behaviours:
        if behaviour in BEHAVIOURS:
            BEHAVIOURS[behaviour]()
    try:
        place = RuntimeDirectory(base, REALM).occupy()
    except FlowDirectoryError as error:
        report.failed(str(error))
        return
    if place is None:
        report.yielded()
        return
    with place:
        report.ready(place.log)
        serve(place, behaviours)


if __name__ == "__main__":
    _, *arguments = sys.argv
    if "thread" in arguments:
        threading.Thread(target=time.sleep, args=[0.1]).start()
    limit = 1.0 if "impatient" in arguments else 60.0
    report = detach(limit) if "--detach" in arguments else Report()
    base, *behaviours = [argument for argument in arguments if argument != "--detach"]
    main(Path(base), report, behaviours)
