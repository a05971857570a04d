"""Be a member of a group, and print what it gets.

    python group.py NAME GROUP [REGISTRY]

Start several with one GROUP and they share the events; each other GROUP gets all of them. The
destination may come later, go, and come again.
"""

import sys

import trio

from eventgraph.pipes import PipeError, open_pipes


async def receive(name: str, group: str, registry: str = "embedded:") -> None:
    async with open_pipes(registry) as pipes:
        async for event in await pipes.join(name, group):
            print(event.obj, flush=True)


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        trio.run(lambda: receive(*sys.argv[1:]))
    except* PipeError as errors:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in errors.exceptions))
    except* KeyboardInterrupt:
        pass
