"""``python -m eventgraph.flows.conversion GROUP/NAME FORMAT``; see `process`."""

import sys

from eventgraph.flows.conversion.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
