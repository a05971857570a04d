"""``python -m cctv cctv.toml``; Ctrl-C ends it.

Exit status: 0 done, 1 it did not work, 2 the command line was wrong.
"""

import logging
import signal
import sys
from pathlib import Path

import trio

from rtp.errors import RtpError

from .app import run
from .config import load_config

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: list[str]) -> int:
    """Run the program; the exit status."""
    if len(arguments) != 1:
        print("cctv: give the file of settings: python -m cctv cctv.toml", file=sys.stderr)
        return 2
    try:
        config = load_config(Path(arguments[0]))
        logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
        for name in ("cctv", "eventgraph", "rtp"):
            logging.getLogger(name).setLevel(config.log.level.upper())
        # The program answers these itself. When it has ended there is nothing left to interrupt:
        # a second Ctrl-C while Python winds up must not end it otherwise.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        trio.run(run, config, lambda url: print(f"cctv is at {url}", flush=True))
    except RtpError as error:
        print(f"cctv: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
