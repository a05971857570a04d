"""The settings of the server: typed, frozen, and complete without a file.

Field names are the keys of the TOML file, nested structs its tables. Each constraint stands
in the type, so that the file, the tests and the reference page read it from here.
"""

import ipaddress
from enum import StrEnum
from typing import Annotated, Self

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""UDP or TCP; 0: the system picks a free one."""

RtpPort = Annotated[int, msgspec.Meta(ge=0, le=65534, multiple_of=2)]
"""Even, with RTCP on the odd one above (RFC 3550 §11); 0: a free pair is picked."""

Path = Annotated[str, msgspec.Meta(min_length=1)]
"""Relative to where the server was started."""


class Host(str):
    """A numeric IP address; names are not looked up, for which of theirs would it be?"""

    __slots__ = ()
    expected = "a numeric IP address such as 127.0.0.1 or ::1"

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is no IP address."""
        try:
            return super().__new__(cls, ipaddress.ip_address(text))
        except ValueError:
            raise ValueError(f"expected {cls.expected}, got {text!r}") from None


LOOPBACK = Host("127.0.0.1")


class LogLevel(StrEnum):
    """What is logged: this and whatever is worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class HttpConfig(_Table, frozen=True):
    """Where the HTTP edge listens."""

    host: Host = LOOPBACK
    port: Port = 8080


class RtpConfig(_Table, frozen=True):
    """What all RTP sessions share."""

    host: Host = LOOPBACK
    silence_limit: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0  # seconds


class RecordingsConfig(_Table, frozen=True):
    """Where WAV files go; the directory is made if need be."""

    enabled: bool = True
    directory: Path = "recordings"


class LogConfig(_Table, frozen=True):
    """What is written to standard error."""

    level: LogLevel = LogLevel.INFO


class GraphConfig(_Table, frozen=True):
    """The event graph."""

    # For draining, and as long again for on_exit: together most of the 2 s after Ctrl-C.
    exit_timeout: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.7  # seconds


class ToneConfig(_Table, frozen=True):
    """The tone of the demo, sent by RTP to whoever listens."""

    frequency: Annotated[float, msgspec.Meta(ge=20, le=3900)] = 440.0  # Hz, below 8 kHz / 2
    level: Annotated[float, msgspec.Meta(ge=-90, le=0)] = -18.0  # dBFS, of the sine's peak
    listener_port: RtpPort = 5008


class EchoConfig(_Table, frozen=True):
    """The session of the demo that sends back what it gets."""

    port: RtpPort = 5004
    listener_port: RtpPort = 5006


class DemoConfig(_Table, frozen=True):
    """The demo graph."""

    enabled: bool = True
    listener_host: Host = LOOPBACK
    tone: ToneConfig = ToneConfig()
    echo: EchoConfig = EchoConfig()


class Config(_Table, frozen=True):
    """All settings."""

    http: HttpConfig = HttpConfig()
    rtp: RtpConfig = RtpConfig()
    recordings: RecordingsConfig = RecordingsConfig()
    log: LogConfig = LogConfig()
    graph: GraphConfig = GraphConfig()
    demo: DemoConfig = DemoConfig()
