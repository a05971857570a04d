"""Worker: the graph of a scope in a process of its own, that the server starts and looks after.

    worker(...)  here                              python -m eventgraph.flows.worker  there
      client.run(Launch)  --> server --> process --> function(graph, client, scope)
      consumer           <==flow "workers/..."==     provider: ready, or what went wrong

``function`` adds the nodes. What they have to do with others passes through flows, so there is no
other way between the two processes than the one by which any client talks to another.
"""

from eventgraph.flows.worker.worker import Worker, worker

__all__ = ["Worker", "worker"]
