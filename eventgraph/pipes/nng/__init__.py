"""The transport over nng: pull, questions and answers are nng's, the push end is ours.

From the top down::

    transport                    makes sockets
    push  pull  questions        the ends
    bridge  reader               pull over WebSocket
    greeting  connection  bind   what the push end is made of
    connections  socket          what nng's sockets share
    web  sp                      pure: the wire
"""
