"""The server of a soak: as ``eventgraph serve`` runs it, with nodes of the soak's own.

Usage: python -m tests.soak.server_process CONFIG CALLS
"""

import logging
import sys
from functools import partial
from pathlib import Path

import trio

from rtp.server.app import run_server
from rtp.server.config_file import load_config
from rtp.server.welcome import Running
from tests.soak.nodes import prepare


def _announce(running: Running) -> None:
    print(running.url, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    config = load_config(Path(sys.argv[1]))
    trio.run(
        partial(run_server, config, _announce, prepare=partial(prepare, int(sys.argv[2]))),
    )
