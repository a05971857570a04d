"""The program: ``python -m eventgraph.flows.worker MODULE:FUNCTION --scope SCOPE``.

A server starts it. It ends in order when it is asked to, by SIGTERM or SIGINT, when no node is
left, and, with ``--report``, when nobody listens to that any more.
"""

import argparse
import logging
import sys

import msgspec
import trio

from eventgraph.flows.worker.program import Order, work


def main() -> int:
    """Work, until there is no need to; the exit status."""
    parser = argparse.ArgumentParser(prog="eventgraph.flows.worker", description=__doc__)
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="or FILE.py:FUNCTION")
    parser.add_argument("--scope", required=True, help="of the nodes")
    parser.add_argument("--arguments", default="{}", help="more for the function, as JSON")
    parser.add_argument("--path", help="directory to import from")
    parser.add_argument("--report", help="flow to say there whether the start went well")
    parser.add_argument("--stay", action="store_true", help="also when nobody listens to that")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        arguments = msgspec.json.decode(given.arguments, type=dict[str, object])
    except msgspec.MsgspecError as error:
        parser.error(f"--arguments are no JSON object: {error}")
    order = Order(given.function, given.scope, arguments, given.path, given.report, given.stay)
    return trio.run(work, order)


if __name__ == "__main__":
    sys.exit(main())
