"""The registry of one machine, for which no service has to be set up.

Whoever needs it connects to a unix socket. If nobody listens there, it serves the registry
itself, beside its own work, and connects to that. When the process that serves ends, however
it ends, the others lose their connections, and one of them is the next to serve: the one that
gets the lock. The new registry is empty: leases lived by their connections, so all of them are
lost, and their owners, who are told so, register again. That is why nothing is ever handed over.

The layers, each of which knows only those above it::

    store       keys, leases, watches; pure
    protocol    messages; pure
    session     the server and one client
    server      all clients
    socket      the path, and the right to serve there
    connection  a client's one connection
    view  lease
    client      a registry over one connection after the other
    opening     connect, or serve
"""
