"""The transport of nng, which speaks SP, the protocols of nanomsg and nng, itself.

From the top down::

    transport                       makes sockets
    push  pull  answerer  asker     the ends
    acceptor  source  dialling      who has dialled; whom we dial
    greeting  reader                coming to terms; messages out of a connection
    connection  bind                the kernel's sockets
    means                           what the sockets of a transport share
    web  sp                         pure: the wire
"""
