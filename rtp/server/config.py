"""The settings of the server: typed, frozen, and complete without a file.

Field names are the keys of the TOML file, nested structs its tables. Each constraint stands
in the type, so that the file, the tests and the reference page read it from here.
"""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

import msgspec

from rtp.node_address import NodeAddressError, parse_address

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""UDP or TCP; 0: the system picks a free one."""

RtpPort = Annotated[int, msgspec.Meta(ge=0, le=65534, multiple_of=2)]
"""Even, with RTCP on the odd one above (RFC 3550 §11); 0: a free pair is picked."""

Path = Annotated[str, msgspec.Meta(min_length=1)]
"""Relative to where the server was started."""

HostName = Annotated[str, msgspec.Meta(min_length=1)]
"""As browsers know a server; without a port."""


Text = Annotated[str, msgspec.Meta(min_length=1)]

Command = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
"""A program and its arguments."""


class FormedText(str):
    """A text of a certain form, checked when it is made.

    Attributes:
        expected: what it looks like, in words.
    """

    __slots__ = ()
    expected: str


class Host(FormedText):
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


class Token(FormedText):
    """A bearer token; it does not show itself (RFC 6750 §2.1)."""

    __slots__ = ()
    expected = "16 to 256 characters out of A-Z a-z 0-9 - . _ ~ + / ="
    _FORM: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is none; the message does not contain it."""
        if not 16 <= len(text) <= 256 or not cls._FORM.fullmatch(text):
            raise ValueError(f"expected {cls.expected}")
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return "Token(...)" if self else "Token()"


NO_TOKEN = str.__new__(Token)


class Origin(FormedText):
    """Where pages come from (RFC 6454): scheme, host and, if it is not the usual one, port."""

    __slots__ = ()
    expected = "an origin such as https://example.com"
    _FORM: Final = re.compile(
        r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?"
    )

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is none."""
        if not cls._FORM.fullmatch(text):
            raise ValueError(f"expected {cls.expected}, got {text!r}")
        return super().__new__(cls, text)


class CollectorUrl(FormedText):
    """Of what takes traces by OTLP over HTTP."""

    __slots__ = ()
    expected = "a URL such as http://127.0.0.1:4318/v1/traces"
    _FORM: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[!-~]*)?")

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is none."""
        if not cls._FORM.fullmatch(text):
            raise ValueError(f"expected {cls.expected}, got {text!r}")
        return super().__new__(cls, text)


NO_COLLECTOR = str.__new__(CollectorUrl)


class NodeName(FormedText):
    """Address of a node, as text."""

    __slots__ = ()
    expected = "a node, as NAME@SCOPE"

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is none."""
        try:
            parse_address(text)
        except NodeAddressError:
            raise ValueError(f"expected {cls.expected}, got {text!r}") from None
        return super().__new__(cls, text)


class LogForm(StrEnum):
    """How a record of the log looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """What is logged: this and whatever is worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class HttpConfig(_Table, frozen=True):
    """Where the HTTP edge listens, and to whom."""

    host: Host = LOOPBACK
    port: Port = 8080
    token: Token = NO_TOKEN
    token_file: Path = ""
    certificate: Path = ""
    key: Path = ""
    allowed_hosts: tuple[HostName, ...] = ()
    allowed_origins: tuple[Origin, ...] = ()
    # A session description of a large conference has some 20 kB.
    max_body: Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)] = 65536  # bytes


class RtpConfig(_Table, frozen=True):
    """What all RTP sessions share."""

    host: Host = LOOPBACK
    silence_limit: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0  # seconds
    listen_limit: Annotated[float, msgspec.Meta(ge=1, le=604800)] = 3600.0  # seconds
    any_target: bool = False


class WebRtcConfig(_Table, frozen=True):
    """When a peer of WebRTC counts as gone."""

    consent_timeout: Annotated[float, msgspec.Meta(ge=1, le=30)] = 15.0  # seconds
    connect_timeout: Annotated[float, msgspec.Meta(ge=1, le=300)] = 30.0  # seconds


class SessionsConfig(_Table, frozen=True):
    """How many may be in a call; each costs sockets, tasks and codecs."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100000)] = 200
    per_second: Annotated[int, msgspec.Meta(ge=1, le=100000)] = 20


class LimitsConfig(_Table, frozen=True):
    """Above which load new sessions are refused; 0: whatever it is."""

    lag: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.25  # seconds
    cpu: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0  # processors
    calm: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 5.0  # seconds
    retry_after: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0  # seconds


class WatchdogConfig(_Table, frozen=True):
    """Who is named in the log for holding up others; 0: nobody."""

    hook_limit: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5  # seconds
    crash: bool = False
    channel_limit: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 2.0  # seconds


class ShutdownConfig(_Table, frozen=True):
    """How the server ends."""

    drain_timeout: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0  # seconds


class RoomsConfig(_Table, frozen=True):
    """How rooms sound."""

    sample_rate: Literal[8000, 16000, 24000, 48000] = 48000  # Hz


class StreamsConfig(_Table, frozen=True):
    """Streams made of feeds by rule."""

    rules_file: Path = ""


class FlowsConfig(_Table, frozen=True):
    """Flows between processes: whose are shown, and which clients can be started."""

    application: Text = ""
    user: Text = ""
    machine: Text = ""
    runtime_directory: Path = ""
    registry: str = "embedded:"  # empty: no other machines
    host: Host = LOOPBACK
    interface: Text = ""
    ports: Text = "0"
    advertise: Text = ""
    secret_file: Path = ""
    ca: Path = ""
    certificate: Path = ""
    key: Path = ""
    clients: dict[str, Command] = {}


class RecordingsConfig(_Table, frozen=True):
    """Where WAV files go; the directory is made if need be."""

    enabled: bool = True
    directory: Path = "recordings"


class LogConfig(_Table, frozen=True):
    """What is written to standard error."""

    level: LogLevel = LogLevel.INFO
    format: LogForm = LogForm.TEXT


class MetricsConfig(_Table, frozen=True):
    """What Prometheus is shown."""

    enabled: bool = True
    public: bool = False
    sample_hops: bool = True


class TracesConfig(_Table, frozen=True):
    """Where OpenTelemetry traces of single events go, and how many."""

    endpoint: CollectorUrl = NO_COLLECTOR
    interval: Annotated[float, msgspec.Meta(ge=0.01, le=3600)] = 1.0  # seconds
    origins: tuple[NodeName, ...] = ()


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
    webrtc: WebRtcConfig = WebRtcConfig()
    sessions: SessionsConfig = SessionsConfig()
    limits: LimitsConfig = LimitsConfig()
    watchdog: WatchdogConfig = WatchdogConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    rooms: RoomsConfig = RoomsConfig()
    streams: StreamsConfig = StreamsConfig()
    flows: FlowsConfig = FlowsConfig()
    recordings: RecordingsConfig = RecordingsConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    traces: TracesConfig = TracesConfig()
    graph: GraphConfig = GraphConfig()
    demo: DemoConfig = DemoConfig()
