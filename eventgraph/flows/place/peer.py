"""Who is at the other end of a unix socket, as the kernel tells."""

import os
import socket
import struct
from typing import Final

from eventgraph.flows.errors import FlowDirectoryError

_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid; unix(7), SO_PEERCRED


def peer_pid(connection: socket.socket) -> int:
    """The process that connected, or that listened when we connected.

    Raises:
        FlowDirectoryError: it is not one of our user's.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(data)
    if user != os.geteuid():
        raise FlowDirectoryError(
            f"process {pid} at the other end is that of user {user}, not of {os.geteuid()}"
        )
    return int(pid)
