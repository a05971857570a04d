"""``eventgraph flows serve``: the server of one realm on this machine, in the foreground."""

import contextlib

from eventgraph.flows import ServerOptions
from eventgraph.flows.place.daemon import Report
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.log import Log
from eventgraph.flows.server.options import encode_options
from eventgraph.flows.server.program import serve
from rtp.flows.errors import FlowCommandError
from rtp.flows.running import begin_logging
from rtp.pipes.listing import shown

TRUST = {
    "trust": "every process of this system user; no secret, no certificates",
    "secret": "whoever knows the secret",
    "certificates": "whoever has a certificate of the same authority",
}


def run_server(options: ServerOptions) -> int:
    """Serve until Ctrl-C: the exit status.

    Raises:
        FlowError: the options cannot be used.
        FlowCommandError: another serves already.
    """
    begin_logging()
    directory = RuntimeDirectory(options.runtime_directory, options.realm, options.own_machine)
    report = _Report(options, directory)
    status = serve(encode_options(options), report)
    if report.has_yielded:
        pid = directory.server_pid()
        raise FlowCommandError(
            f"process {pid} serves {options.realm} in {directory.path} already: there is nothing "
            f"to do, or end it first: kill {pid}"
        )
    return status


class _Report(Report):
    """Tells who sits before the terminal."""

    def __init__(self, options: ServerOptions, directory: RuntimeDirectory) -> None:
        self.has_yielded = False
        self._options = options
        self._directory = directory

    def ready(self, log: Log) -> None:
        options = self._options
        method = options.authentication.method
        application = shown(options.application)
        lines = [
            f"serving {options.realm} on {options.machine}; Ctrl-C ends it, and clients go on.",
            "",
            f"  directory  {shown(str(self._directory.path))}",
            f"  registry   {shown(options.registry) or 'none: no other machines'}",
            f"  trusts     {TRUST.get(method, method)}",
            f"  look       eventgraph flows ls --application {application}",
            f"             eventgraph flows map --application {application}",
        ]
        with contextlib.suppress(OSError):  # nobody reads it: no reason to stop serving
            print("\n".join(lines), flush=True)

    def yielded(self) -> None:
        self.has_yielded = True
