"""``eventgraph top``: a running server in a terminal, what hurts on top.

::

    live      asks the server again and again; keys
    screen    how it looks
    server    what /metrics says of the server as a whole
    activity  pure: two snapshots of the graph become rates, and nodes are put in order
"""
