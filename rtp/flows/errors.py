"""What a command of flows says when it cannot go on."""

from rtp.errors import RtpError


class FlowCommandError(RtpError):
    """A command of flows cannot do what was asked; the message is one line."""
