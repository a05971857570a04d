"""The server as a program: ``python -m eventgraph.flows.server OPTIONS [--detach]``."""

import sys

from eventgraph.flows.place.daemon import Report, detach


def main() -> int:
    """Serve; what is heavy is imported after the process has detached."""
    detached = "--detach" in sys.argv[2:]
    report = detach() if detached else Report()
    from eventgraph.flows.server.program import serve

    return serve(sys.argv[1] if len(sys.argv) > 1 else "{}", report)


if __name__ == "__main__":
    sys.exit(main())
