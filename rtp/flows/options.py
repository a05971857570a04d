"""Options that the commands of ``eventgraph flows`` share."""

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import Group, Parameter

from rtp.flows.errors import FlowCommandError
from rtp.pipes.options import ENVIRONMENT as REGISTRY_ENVIRONMENT
from rtp.pipes.options import BindingOptions

if TYPE_CHECKING:
    from eventgraph.flows import AuthenticationOptions, FlowClient, ServerOptions
    from eventgraph.pipes import Binding, Tls

APPLICATION: Final = "EVENTGRAPH_FLOWS_APPLICATION"
USER: Final = "EVENTGRAPH_FLOWS_USER"
MACHINE: Final = "EVENTGRAPH_FLOWS_MACHINE"
DIRECTORY: Final = "EVENTGRAPH_FLOWS_DIRECTORY"
SECRET: Final = "EVENTGRAPH_FLOWS_SECRET_FILE"
HOST: Final = "EVENTGRAPH_FLOWS_HOST"
INTERFACE: Final = "EVENTGRAPH_FLOWS_INTERFACE"
PORTS: Final = "EVENTGRAPH_FLOWS_PORTS"
ADVERTISE: Final = "EVENTGRAPH_FLOWS_ADVERTISE"
STARTED: Final = "EVENTGRAPH_FLOWS"  # as `eventgraph.flows.opening.ENVIRONMENT`

REALM_OPTIONS = Group("Whose flows, and where", sort_key=10)
BINDING_OPTIONS = Group("Where the server listens to other machines", sort_key=11)
TRUST_OPTIONS = Group("Trust", sort_key=12)


@dataclass(frozen=True, kw_only=True)
class RealmOptions:
    """Of which flows; and, if a server has to be started, how it is to be.

    Parameters
    ----------
    application
        Whose flows; those of other applications are not seen. What a server has started need not
        say it.
    user
        Whose, within the application; by default who runs the command.
    machine
        What this machine is called; by default the host's name.
    runtime_directory
        Where servers have their directories; by default $XDG_RUNTIME_DIR.
    registry
        Where servers of other machines are found: etcd://host:port; embedded: for this machine
        alone, as are "machines" with different names on it.
    host
        Address to listen on, of the network where the other machines are.
    interface
        Network interface to listen on, instead; such as eth0.
    ports
        Port, or first and last of those that may be used, such as 5000-5009; 0 takes any. Each
        server takes one, and one more for each flow and machine that it goes to.
    advertise
        Host that others reach this machine by; by default the address.
    secret_file
        Everybody must know this secret: a file of 16 bytes or more, only for its owner.
    ca
        Everybody must have a certificate that this one signed, a PEM file. All three, or none.
    cert
        Our own certificate, a PEM file.
    key
        The private key of that, a PEM file.
    """

    application: Annotated[
        str, Parameter(alias="-a", env_var=APPLICATION, group=REALM_OPTIONS, show_default=False)
    ] = ""
    user: Annotated[str, Parameter(env_var=USER, group=REALM_OPTIONS, show_default=False)] = ""
    machine: Annotated[str, Parameter(env_var=MACHINE, group=REALM_OPTIONS, show_default=False)] = (
        ""
    )
    runtime_directory: Annotated[Path | None, Parameter(env_var=DIRECTORY, group=REALM_OPTIONS)] = (
        None
    )
    registry: Annotated[
        str, Parameter(alias="-r", env_var=REGISTRY_ENVIRONMENT, group=REALM_OPTIONS)
    ] = "embedded:"
    host: Annotated[str, Parameter(env_var=HOST, group=BINDING_OPTIONS)] = "127.0.0.1"
    interface: Annotated[str | None, Parameter(env_var=INTERFACE, group=BINDING_OPTIONS)] = None
    ports: Annotated[str, Parameter(env_var=PORTS, group=BINDING_OPTIONS)] = "0"
    advertise: Annotated[str | None, Parameter(env_var=ADVERTISE, group=BINDING_OPTIONS)] = None
    secret_file: Annotated[Path | None, Parameter(env_var=SECRET, group=TRUST_OPTIONS)] = None
    ca: Annotated[Path | None, Parameter(group=TRUST_OPTIONS)] = None
    cert: Annotated[Path | None, Parameter(group=TRUST_OPTIONS)] = None
    key: Annotated[Path | None, Parameter(group=TRUST_OPTIONS)] = None

    def server(self, *, idle_timeout: float | None = None) -> "ServerOptions":
        """Of a server; those of the client are a part of them.

        Args:
            idle_timeout: seconds; None: as is usual.
        Raises:
            FlowCommandError, FlowError, PipeError: they make no sense.
        """
        from eventgraph.flows import ServerOptions

        if not self.application:
            raise FlowCommandError(f"say whose flows: --application NAME, or ${APPLICATION}")
        tls = self._tls()
        options = ServerOptions(
            application=self.application,
            user=self.user,
            machine=self.machine,
            runtime_directory=self.runtime_directory and self.runtime_directory.absolute(),
            registry=self.registry,
            binding=self._binding(tls),
            tls=tls,
            authentication=self._authentication(tls),
        )
        return (
            options
            if idle_timeout is None
            else msgspec.structs.replace(options, idle_timeout=idle_timeout)
        )

    def open(
        self, name: str | None, usual: str, *, start: bool = True
    ) -> "AbstractAsyncContextManager[FlowClient]":
        """A client. Raises: FlowError, FlowCommandError.

        Args:
            name: of it; None: as who has started it says, else the usual one.
            start: whether to start a server if there is none.
        """
        from eventgraph.flows import open_flows

        if self._is_started():
            return open_flows(None, name=name, start=start)
        return open_flows(self.server(), name=name or usual, start=start)

    def _is_started(self) -> bool:
        """Whether a server has started this process, to take part in these flows."""
        text = os.environ.get(STARTED)
        if not text:
            return False
        try:
            options = msgspec.json.decode(text, type=_Started).options
        except msgspec.MsgspecError:
            return True  # that it makes no sense will be said
        return self.application in ("", options.application) and self.user in ("", options.user)

    def _binding(self, tls: "Tls | None") -> "Binding":
        binding = BindingOptions(
            host=self.host,
            interface=self.interface,
            ports=self.ports,
            advertise=self.advertise,
        ).binding
        return msgspec.structs.replace(binding, scheme="tls+tcp") if tls else binding

    def _authentication(self, tls: "Tls | None") -> "AuthenticationOptions":
        from eventgraph.flows import AuthenticationOptions

        if self.secret_file is not None and tls is not None:
            raise FlowCommandError(
                "--secret-file and certificates are two ways of trust: choose one"
            )
        if self.secret_file is not None:
            return AuthenticationOptions("secret", self.secret_file.absolute())
        if tls is not None:
            return AuthenticationOptions("certificates", None, tls)
        return AuthenticationOptions()

    def _tls(self) -> "Tls | None":
        from eventgraph.pipes import Tls

        if self.ca is None and self.cert is None and self.key is None:
            return None
        if self.ca is None or self.cert is None or self.key is None:
            raise FlowCommandError("--ca, --cert and --key go together: give all three, or none")
        return Tls(self.ca.absolute(), self.cert.absolute(), self.key.absolute())


class _StartedRealm(msgspec.Struct):
    application: str
    user: str


class _Started(msgspec.Struct):
    options: _StartedRealm
