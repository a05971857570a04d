"""One edge under atheris, in a process of its own, for it never returns: used by ``__main__``.

Inputs that reach new branches are kept and damaged further. libFuzzer writes to standard error how
far it has come; an input that breaks the edge is written to a file, and the exit status is 77.
"""

import sys
import tracemalloc

import atheris

with atheris.instrument_imports(include=["eventgraph", "rtp", "aiortc", "lark"]):
    from .edge import MAX_INPUT
    from .edges import EDGES


def main() -> None:
    """``EDGE -max_total_time=SECONDS [CORPUS]``, the latter two for libFuzzer."""
    name, *options = sys.argv[1:]
    edge = EDGES[name]
    tracemalloc.start()

    def take(data: bytes) -> None:
        edge.take_within_bounds(data)

    atheris.Setup([sys.argv[0], f"-max_len={MAX_INPUT}", *options], take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
