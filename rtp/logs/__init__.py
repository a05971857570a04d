"""The log of a server, on top of `logging`: nothing that writes a log has to know of it.

::

    output   one handler; a thread of its own writes, so that nothing waits for a terminal
    form     a line for people, or an object of JSON; secrets are taken out
    journal  priorities for systemd
    storm    pure: what is repeated too often is counted instead
    levels   what is logged, by area and by scope, changed while the server runs

An *area* is a logger with those below it, such as ``rtp.http``. A *scope* is one of the graph:
records about a node carry it.
"""
