"""Those of ``eventgraph flows`` that begin and end clients."""

from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter, validators

from rtp.flows.errors import FlowCommandError
from rtp.flows.options import RealmOptions
from rtp.flows.running import in_one_line, run_command

Realm = Annotated[RealmOptions, Parameter(name="*")]
REALM: Final = RealmOptions()

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Limit = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def add_client_commands(app: App) -> None:
    """Add them."""
    app.command(run, sort_key=8)
    app.command(end, sort_key=9)
    app.command(new, sort_key=10)


def run(
    *command: str,
    on: Annotated[str, Parameter(show_default=False)] = "",
    name: str | None = None,
    movable: Flag = False,
    respawns: Limit = 5,
    realm: Realm = REALM,
) -> int:
    """Let the server start a client, and start it again when it crashes. Prints its id.

    The client takes part in the flows of the server that started it without being told whose they
    are: so do the other commands here, as in `eventgraph flows run -a demo -- eventgraph flows
    provide lab/tone --tone 440`.

    Parameters
    ----------
    command
        The program and its arguments, after --.
    on
        The machine that is to run it; by default this one.
    name
        What the client is called; by default as the program.
    movable
        It may be ended here and started on another machine, to balance the load.
    respawns
        It is started again at most so many times in a minute.
    """
    from eventgraph.flows import Launch
    from rtp.flows.launch import Run, absolute, launch_name

    if not command:
        raise FlowCommandError("say which program: eventgraph flows run -- PROGRAM ARGUMENTS")
    return run_command(
        lambda: Run(
            realm=realm,
            launch=Launch(
                command if on else absolute(command),
                name or launch_name(command),
                movable=movable,
                respawns=respawns,
            ),
            machine=on,
        )
    )


def end(client: str, /, *, realm: Realm = REALM) -> int:
    """Let a client end, on whichever machine it is; it is not started again.

    Parameters
    ----------
    client
        Its name, or the beginning of its id, as `eventgraph flows ls` shows them.
    """
    from rtp.flows.launch import End

    return run_command(lambda: End(realm=realm, client=client))


def new(
    path: Path,
    /,
    *,
    kind: Literal["provider", "consumer", "both"] = "both",
    application: Annotated[str, Parameter(alias="-a")] = "demo",
) -> int:
    """Write the beginning of a client, a program that can be run as it is.

    Parameters
    ----------
    path
        Of the file, with or without .py; nothing is overwritten. The client is called like it.
    kind
        Whether it provides, consumes, or both.
    application
        Whose flows it takes part in.
    """
    from eventgraph.flows import FlowError
    from rtp.flows.new import New

    try:
        return New(path=path, kind=kind, application=application).run()
    except FlowError as error:
        raise in_one_line(error) from error
