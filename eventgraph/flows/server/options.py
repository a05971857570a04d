"""What a server is told when it is started."""

import getpass
import math
import socket
from pathlib import Path
from typing import Final

import msgspec

from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.key import Realm, check_name
from eventgraph.pipes.options import Binding
from eventgraph.pipes.transport import Tls

GIB: Final = 1 << 30  # bytes
USUAL_REGISTRY: Final = "embedded:"


class ServerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All servers of a realm that are to find each other have the same registry.

    Attributes:
        application, user: the realm; the user is by default who runs the process.
        machine: what this one is called; by default the host's name, up to its first dot.
        runtime_directory: see `RuntimeDirectory`.
        registry: URL, as of pipes; what has no other machines needs none: empty.
        registry_tls: files, for an ``etcds:`` registry.
        ttl: seconds after which a dead machine is gone from the registry.
        transport: what carries flows between machines.
        binding: where it listens for the other machines.
        tls: files for mutual TLS between machines.
        authentication: of clients and servers.
        balancing: by name; see `eventgraph.flows.balancing`.
        balancing_options: of that.
        memory_limit: bytes of all rings together.
        max_clients: that may be connected at once.
        keepalive: seconds of silence after which a server on another machine is dead.
        idle_timeout: seconds without a client after which the server ends; 0: it stays.

    Raises:
        FlowOptionError, FlowNameError: a value makes no sense.
    """

    application: str
    user: str = ""
    machine: str = ""
    runtime_directory: Path | None = None
    registry: str = USUAL_REGISTRY
    registry_tls: Tls | None = None
    ttl: float = 5.0
    transport: str = "nng"
    binding: Binding = Binding()
    tls: Tls | None = None
    authentication: AuthenticationOptions = AuthenticationOptions()
    balancing: str = "none"
    balancing_options: dict[str, float] = {}
    memory_limit: int = 4 * GIB
    max_clients: int = 256
    keepalive: float = 3.0
    idle_timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.user:
            msgspec.structs.force_setattr(self, "user", getpass.getuser())
        if not self.machine:
            msgspec.structs.force_setattr(self, "machine", socket.gethostname().split(".")[0])
        check_name("machine", self.machine)
        _ = self.realm
        for name, low, high in (
            ("ttl", 0.1, 3600),
            ("keepalive", 0.1, 3600),
            ("idle_timeout", 0, math.inf),
            ("memory_limit", 1 << 20, math.inf),
            ("max_clients", 1, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise FlowOptionError(
                    f"{name} is {getattr(self, name)}; it must be {low:g} to {high:g}"
                )

    @property
    def realm(self) -> Realm:
        """Who sees each other."""
        return Realm(self.application, self.user)

    @property
    def shown_registry(self) -> str:
        """For everybody to see: without user and password."""
        scheme, separator, rest = self.registry.partition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"

    @property
    def own_machine(self) -> str | None:
        """For the runtime directory: None if the machine is called as the host."""
        return None if self.machine == socket.gethostname().split(".")[0] else self.machine


def encode_options(options: ServerOptions) -> str:
    """As the server program takes it on its command line; nothing in it is secret."""
    return msgspec.json.encode(options, enc_hook=str).decode()


def decode_options(text: str) -> ServerOptions:
    """Read it.

    Raises:
        FlowOptionError: it makes no sense.
    """
    try:
        return msgspec.json.decode(text, type=ServerOptions, dec_hook=read_path)
    except msgspec.MsgspecError as error:
        raise FlowOptionError(f"server options that make no sense: {error}") from None


def read_path(kind: type, value: object) -> Path:
    """For msgspec, which knows no paths.

    Raises:
        NotImplementedError, TypeError: something else is asked for.
    """
    if kind is not Path:
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise TypeError(f"a path is a text, not {value!r}")
    return Path(value)
