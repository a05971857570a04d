"""The commands of ``eventgraph``, but for those of pipes and flows.

::

    app                                all of them; serve
    text  tap  record  latency         of graphs: as texts, as they run, as recordings, hop by hop
    top  log  token                    of servers
"""
