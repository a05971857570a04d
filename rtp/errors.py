"""Every exception of the media server, under one base.

What arrives from the network on the media path never raises: it is dropped and
counted (see `rtp.drops`). Exceptions are for misuse and for signalling.
"""


class RtpError(Exception):
    """Base of all errors of package `rtp`."""


class SdpError(RtpError):
    """A session description cannot be used; the message has the line and what was expected."""


class UnknownPayloadTypeError(RtpError):
    """A packet was to be sent with a payload type that the session has not agreed on."""
