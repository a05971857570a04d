"""The transport over ZeroMQ.

From the top down::

    transport             makes sockets
    pipeline  questions   the ends
    monitor  inproc       who is connected
    socket                what the sockets share
"""
