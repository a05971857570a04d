"""What keeps a server from starting."""

import errno
import os

from rtp.errors import RtpError


class StartError(RtpError):
    """The server cannot start; the message is one line that says what to do."""


def reason(error: OSError) -> str:
    """Why the system refused, in words of its user."""
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return os.strerror(error.errno).lower() if error.errno else str(error)
