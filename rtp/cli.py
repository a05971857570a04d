"""The entry of the command line: runs a command, and turns errors into one line.

Exit status: 0 done, 1 it did not work, 2 the command line was wrong, 130 Ctrl-C.

Nothing heavy is imported here, nor by `rtp.commands.app`: ``--help`` is quick, and a missing
extra is a hint rather than a traceback.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from rtp.errors import RtpError

PROGRAM: Final = "eventgraph"
OWN_PACKAGES: Final = frozenset({"eventgraph", "rtp", "benchmarks"})
EXTRAS: Final = {"ifaddr": "pipes", "zmq": "zmq"}
"""Which extra has a package; all others are of ``rtp``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. `arguments` are those of the process if None."""
    for stream in (sys.stdout, sys.stderr):  # names of nodes may not fit the terminal
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # here, where a closed pipe can still be answered
    except RtpError as error:
        return _fail(str(error), 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OWN_PACKAGES:
            raise
        extra = EXTRAS.get(package, "rtp")
        return _fail(f"{package} is not installed; try: pip install 'eventgraph[{extra}]'", 1)
    except BrokenPipeError:  # as by `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _run(arguments: Sequence[str]) -> int:
    from cyclopts import CycloptsError

    from rtp.commands.app import app

    try:
        status = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        command = " ".join([PROGRAM, *(error.command_chain or ())])
        return _fail(f"{' '.join(str(error).split())} See `{command} --help`.", 2)
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return status
