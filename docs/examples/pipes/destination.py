"""Send the time to every group, once a second.

    python destination.py NAME [REGISTRY [HOST]]

REGISTRY is embedded: (this machine; the default) or etcd://host:2379. HOST is the address of
this machine that the others reach it at.
"""

import sys
import time

import trio

from eventgraph import Event
from eventgraph.pipes import Binding, PipeError, open_pipes

TIME = 1


async def send(name: str, registry: str = "embedded:", host: str = "127.0.0.1") -> None:
    async with open_pipes(registry, binding=Binding(host=host)) as pipes:
        destination = await pipes.register(name)
        while True:
            groups = destination.deliver(Event(TIME, time.strftime("%X")))
            print(f"sent to {groups}: {', '.join(destination.groups)}", flush=True)
            await trio.sleep(1)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        trio.run(lambda: send(*sys.argv[1:]))
    except* PipeError as errors:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in errors.exceptions))
    except* KeyboardInterrupt:
        pass
