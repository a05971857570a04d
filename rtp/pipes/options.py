"""Options that the commands of ``eventgraph pipes`` share."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Group, Parameter, validators

from rtp.errors import RtpError

if TYPE_CHECKING:
    from eventgraph.pipes import Binding, Pipes, Registry, Tls

ENVIRONMENT: Final = "EVENTGRAPH_REGISTRY"

REGISTRY_OPTIONS = Group("Registry", sort_key=10)
TRANSPORT_OPTIONS = Group("Transport", sort_key=11)
BINDING_OPTIONS = Group("Where it listens", sort_key=12)

Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0))]


class PipeCommandError(RtpError):
    """A command of pipes cannot do what was asked; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class RegistryOptions:
    """Where destinations and groups find each other.

    Parameters
    ----------
    registry
        embedded: for this machine, embedded:/path/of/a/socket, or etcd://[user:password@]host:port,
        etcds:// with TLS.
    prefix
        Of all keys there.
    timeout
        Seconds that the registry may take for an answer.
    registry_ca
        Who signs the certificates of etcds://, a PEM file. All three, or none.
    registry_cert
        Our own certificate for it, a PEM file.
    registry_key
        The private key of that, a PEM file.
    """

    registry: Annotated[str, Parameter(alias="-r", env_var=ENVIRONMENT, group=REGISTRY_OPTIONS)] = (
        "embedded:"
    )
    prefix: Annotated[str, Parameter(group=REGISTRY_OPTIONS)] = "/streams/destinations"
    timeout: Annotated[Seconds, Parameter(group=REGISTRY_OPTIONS)] = 5.0
    registry_ca: Annotated[Path | None, Parameter(group=REGISTRY_OPTIONS)] = None
    registry_cert: Annotated[Path | None, Parameter(group=REGISTRY_OPTIONS)] = None
    registry_key: Annotated[Path | None, Parameter(group=REGISTRY_OPTIONS)] = None

    @property
    def tls(self) -> "Tls | None":
        """Raises: PipeCommandError."""
        return _tls("registry-", self.registry_ca, self.registry_cert, self.registry_key)

    def open(self) -> "AbstractAsyncContextManager[Registry]":
        """The registry. Raises: PipeError, PipeCommandError."""
        from eventgraph.pipes import open_registry

        return open_registry(self.registry, timeout=self.timeout, tls=self.tls)

    @property
    def checked_prefix(self) -> str:
        """The prefix without a slash at its end. Raises: PipeError."""
        from eventgraph.pipes.options import check_prefix

        return check_prefix(self.prefix)


@dataclass(frozen=True, kw_only=True)
class TransportOptions:
    """What carries the events.

    Parameters
    ----------
    transport
        What carries events; the same at both ends.
    ca
        Who signs the certificates of pipes, a PEM file. All three, or none.
    cert
        Our own certificate for pipes, a PEM file.
    key
        The private key of that, a PEM file.
    """

    transport: Annotated[Literal["nng", "zmq"], Parameter(group=TRANSPORT_OPTIONS)] = "nng"
    ca: Annotated[Path | None, Parameter(group=TRANSPORT_OPTIONS)] = None
    cert: Annotated[Path | None, Parameter(group=TRANSPORT_OPTIONS)] = None
    key: Annotated[Path | None, Parameter(group=TRANSPORT_OPTIONS)] = None

    def open(
        self, registry: RegistryOptions, binding: "Binding | None" = None
    ) -> "AbstractAsyncContextManager[Pipes]":
        """Pipes. Raises: PipeError, PipeCommandError."""
        from msgspec.structs import replace

        from eventgraph.pipes import open_pipes

        tls = _tls("", self.ca, self.cert, self.key)
        if tls and binding:
            binding = replace(binding, scheme="tls+tcp")
        return open_pipes(
            registry.registry,
            transport=self.transport,
            binding=binding,
            tls=tls,
            registry_tls=registry.tls,
            prefix=registry.prefix,
            timeout=registry.timeout,
        )


@dataclass(frozen=True, kw_only=True)
class BindingOptions:
    """Where a destination listens.

    Parameters
    ----------
    host
        Address to listen on.
    interface
        Network interface to listen on, instead; such as eth0.
    ports
        Port, or first and last of those that may be used, such as 5000-5009; 0 takes any.
    advertise
        Host that others reach this machine by; by default the address.
    """

    host: Annotated[str, Parameter(group=BINDING_OPTIONS)] = "127.0.0.1"
    interface: Annotated[str | None, Parameter(group=BINDING_OPTIONS)] = None
    ports: Annotated[str, Parameter(group=BINDING_OPTIONS)] = "0"
    advertise: Annotated[str | None, Parameter(group=BINDING_OPTIONS)] = None

    @property
    def binding(self) -> "Binding":
        """Raises: PipeError, PipeCommandError."""
        from eventgraph.pipes import Binding

        first, _, last = self.ports.partition("-")
        try:
            ports = int(first), int(last or first)
        except ValueError:
            raise PipeCommandError(
                f"--ports {self.ports}: expected a port, or two such as 5000-5009"
            ) from None
        return Binding(
            host=self.host, interface=self.interface, ports=ports, advertise=self.advertise
        )


def _tls(prefix: str, ca: Path | None, cert: Path | None, key: Path | None) -> "Tls | None":
    from eventgraph.pipes import Tls

    if ca is None and cert is None and key is None:
        return None
    if ca is None or cert is None or key is None:
        raise PipeCommandError(
            f"--{prefix}ca, --{prefix}cert and --{prefix}key go together: give all three, or none"
        )
    return Tls(ca, cert, key)
