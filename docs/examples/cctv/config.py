"""The settings of the program: cameras, their streams, and what is written to disk."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

import msgspec

from rtp.errors import RtpError
from rtp.server.config import (
    GraphConfig,
    Host,
    HttpConfig,
    LogConfig,
    Origin,
    SessionsConfig,
    StreamsConfig,
    Token,
    WebRtcConfig,
)

DEFAULT_PORT: Final = 554
"""Of RTSP (RFC 7826 §22.1)."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}\Z")]
"""Of a camera or a stream; it stands in scopes, paths of HTTP and names of files."""

Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]


class ConfigError(RtpError):
    """The settings cannot be used; the message is one line with the way out."""


class RtspUrl(str):
    """Where a camera's stream is. It may hold a password, so it does not show itself."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raises: ValueError: it is no RTSP URL; the message does not contain it."""
        try:
            parts = urlsplit(text)
            usable = parts.scheme == "rtsp" and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or re.search(r"[\s\x00-\x1f]", text):
            raise ValueError("expected an URL such as rtsp://user:password@10.0.0.7/main")
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"RtspUrl({self.shown!r})"

    @property
    def host(self) -> str:
        """A name or a numeric address."""
        host = urlsplit(self).hostname
        assert host is not None  # of what was parsed once
        return host

    @property
    def port(self) -> int:
        """TCP."""
        return urlsplit(self).port or DEFAULT_PORT

    @property
    def shown(self) -> str:
        """Without name and password."""
        parts = urlsplit(self)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    def through(self, port: int) -> str:
        """The same by way of a port of this machine."""
        parts = urlsplit(self)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class StreamConfig(_Table, frozen=True):
    """One stream of a camera.

    Attributes:
        record: whether it is written to disk from the start.
        audio: whether the broadcast has sound from the start.
    """

    name: Name
    url: RtspUrl
    record: bool = False
    audio: bool = True


class CameraConfig(_Table, frozen=True):
    """A camera, mostly of two streams: a large one for the disk, a small one to look at."""

    name: Name
    streams: Annotated[tuple[StreamConfig, ...], msgspec.Meta(min_length=1, max_length=8)]


class RtspConfig(_Table, frozen=True):
    """How cameras are dealt with.

    Attributes:
        open_timeout: seconds that a camera has to answer and to send.
        read_timeout: seconds without anything until it counts as dead.
        backoff: seconds until the first attempt to reach it again; doubled each time.
        max_backoff: seconds, at most.
        linger: seconds that a stream runs on after its last client.
    """

    open_timeout: Seconds = 10.0
    read_timeout: Seconds = 5.0
    backoff: Seconds = 0.5
    max_backoff: Seconds = 30.0
    linger: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 2.0


class DiskConfig(_Table, frozen=True):
    """What is written.

    Attributes:
        directory: made if need be; each stream has one of its own in it.
        segment: seconds of a file; it ends with the next key frame after that.
        keep: files of a stream; when there are more the oldest is removed.
    """

    directory: Annotated[str, msgspec.Meta(min_length=1)] = "footage"
    segment: Seconds = 60.0
    keep: Annotated[int, msgspec.Meta(ge=2, le=1_000_000)] = 1440


class Config(_Table, frozen=True):
    """All settings."""

    cameras: Annotated[tuple[CameraConfig, ...], msgspec.Meta(min_length=1, max_length=256)]
    rtsp: RtspConfig = RtspConfig()
    disk: DiskConfig = DiskConfig()
    streams: StreamsConfig = StreamsConfig()
    http: HttpConfig = HttpConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    sessions: SessionsConfig = SessionsConfig()
    log: LogConfig = LogConfig()
    graph: GraphConfig = GraphConfig(exit_timeout=2.0)  # segments are finished


_OWN_TYPES: Final = (Host, Origin, Token, RtspUrl)


def load_config(path: Path) -> Config:
    """Read the settings.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong.
    """
    try:
        config = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Config, dec_hook=_make)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text, as TOML has to be") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    _check_names(path, "cameras", [camera.name for camera in config.cameras])
    for camera in config.cameras:
        _check_names(path, camera.name, [stream.name for stream in camera.streams])
    return config


def _check_names(path: Path, where: str, names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"{path}: {where}: the name {min(twice)} is there twice; choose another")


def _make(kind: type, value: object) -> object:
    """Let msgspec have our own types; it adds the key to what is raised."""
    if kind in _OWN_TYPES and isinstance(value, str):
        return kind(value)
    raise ValueError(f"expected text, got {type(value).__name__}")
