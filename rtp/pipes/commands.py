"""The commands of ``eventgraph pipes``, and what they take."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from cyclopts import App, Parameter, validators

from rtp.pipes.options import (
    BindingOptions,
    PipeCommandError,
    RegistryOptions,
    Seconds,
    TransportOptions,
)

if TYPE_CHECKING:
    from rtp.interruption import Interruption

LineFormat = Literal["json", "text", "bytes"]

Registry = Annotated[RegistryOptions, Parameter(name="*")]
Transport = Annotated[TransportOptions, Parameter(name="*")]
Binding = Annotated[BindingOptions, Parameter(name="*")]
REGISTRY, TRANSPORT, BINDING = RegistryOptions(), TransportOptions(), BindingOptions()

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Verbose = Annotated[bool, Parameter(alias="-v", negative=(), show_default=False)]
Form = Annotated[LineFormat, Parameter(alias="-f")]
Count = Annotated[int, Parameter(alias="-n", validator=validators.Number(gte=1))]

pipes = App(
    name="pipes",
    help="Destinations and groups: events from machine to machine.",
    help_format="markdown",
    sort_key=20,
)


@pipes.command(sort_key=1)
def ls(name: str | None = None, /, *, json: Flag = False, registry: Registry = REGISTRY) -> int:
    """Print the destinations, their groups and the members, as they stand in the registry.

    Parameters
    ----------
    name
        Only this destination.
    json
        As JSON, for programs.
    """
    from rtp.pipes.watch import Ls

    return _run(lambda: Ls(registry=registry, name=name, json=json))


@pipes.command(sort_key=2)
def watch(name: str | None = None, /, *, json: Flag = False, registry: Registry = REGISTRY) -> int:
    """Print what comes (+), goes (-) or changes (~) in the registry, until Ctrl-C.

    First what stands there now. A registry that goes away, and comes back, is told with "!".

    Parameters
    ----------
    name
        Only this destination.
    json
        One JSON object a line, for programs.
    """
    from rtp.pipes.watch import Watch

    return _run(lambda: Watch(registry=registry, name=name, json=json))


@pipes.command(sort_key=3)
def send(
    name: str,
    /,
    *,
    format: Form | None = None,
    wait: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    no_wait: Flag = False,
    at_least_once: Flag = False,
    raw: Flag = False,
    linger: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    standby: Flag = False,
    verbose: Verbose = False,
    binding: Binding = BINDING,
    transport: Transport = TRANSPORT,
    registry: Registry = REGISTRY,
) -> int:
    """Register a destination, and send it the lines of standard input as events.

    It reads no faster than the slowest group takes. At the end of the input it waits until every
    group has received all, and says how many.

    Parameters
    ----------
    name
        The destination.
    format
        What a line is. json (the default): an object with a cmd, an obj or base64, and a reply_to,
        or any other value, which is then the obj; text: UTF-8, a string; bytes (with --raw the
        default): its bytes, whatever they are.
    wait
        GROUP or GROUP:COUNT: begin when that group has so many members connected. Can be repeated;
        without it, it begins when there is any group.
    no_wait
        Send also while there is no group: nobody gets that.
    at_least_once
        Send again what a member that died had not taken.
    raw
        Plain messages without a header, for programs that are not eventgraph, such as nanocat.
    linger
        Seconds to keep what waits for a group after its last member has gone.
    standby
        If another has the destination, wait, and take over when it is gone.
    verbose
        Say what it waits for, also if standard error is no terminal.
    """
    from eventgraph.pipes import DestinationOptions, Reliability
    from rtp.pipes.send import Send

    if raw and format not in (None, "bytes"):
        raise PipeCommandError(f"--raw carries bytes, not --format {format}: leave one of them out")

    def command() -> Send:
        chosen = Reliability.AT_LEAST_ONCE if at_least_once else Reliability.AT_MOST_ONCE
        return Send(
            registry=registry,
            transport=transport,
            binding=binding,
            name=name,
            options=DestinationOptions(reliability=chosen, raw=raw, group_linger=linger),
            form=format or ("bytes" if raw else "json"),
            standby=standby,
            wait=[_group_and_count(text) for text in wait],
            unheard=no_wait,
            verbose=verbose,
        )

    return _run(command)


@pipes.command(sort_key=4)
def recv(
    name: str,
    group: str,
    /,
    *,
    format: Form = "json",
    count: Count | None = None,
    idle: Seconds | None = None,
    verbose: Verbose = False,
    transport: Transport = TRANSPORT,
    registry: Registry = REGISTRY,
) -> int:
    """Join a group, and print the events that it gets, a line for each.

    The members of a group share its events; each group gets all. The destination may come later,
    and may come and go. Ends with Ctrl-C, or when nobody reads what it prints.

    Parameters
    ----------
    name
        The destination.
    group
        The group of it.
    format
        What a line is. json: an object with cmd, and obj, or base64 if that is bytes; redelivered
        is true if somebody may have had the event before; text: only the obj, bytes that are not
        UTF-8 escaped; bytes: only the obj, as it is. What is neither text nor bytes is JSON.
    count
        End after so many events.
    idle
        End when nothing has come for so many seconds; if there should be a count, that is an error.
    verbose
        Say how it goes, also if standard error is no terminal.
    """
    from rtp.pipes.recv import Recv

    return _run(
        lambda: Recv(
            registry=registry,
            transport=transport,
            name=name,
            group=group,
            form=format,
            count=count,
            idle=idle,
            verbose=verbose,
        )
    )


@pipes.command(sort_key=5)
def announce_sender(name: str, group: str, url: str, /, *, registry: Registry = REGISTRY) -> int:
    """Let members of a group dial a program of others, that sends plain messages. Until Ctrl-C.

    Each message is an event with cmd 0, and its bytes as obj.

    Parameters
    ----------
    name
        The destination; nobody may have it.
    group
        The group of it.
    url
        Where the push socket of that program listens, such as tcp://10.0.0.7:5000.
    """
    from rtp.pipes.announcement import AnnounceSender

    return _run(lambda: AnnounceSender(registry=registry, name=name, group=group, url=url))


@pipes.command(sort_key=6)
def announce_member(name: str, group: str, /, *, registry: Registry = REGISTRY) -> int:
    """Let a program of others be a member of a group of a raw destination. Until Ctrl-C.

    Prints the URL that its pull socket is to dial; another line whenever that changes.

    Parameters
    ----------
    name
        The destination.
    group
        The group of it.
    """
    from rtp.pipes.announcement import AnnounceMember

    return _run(lambda: AnnounceMember(registry=registry, name=name, group=group))


class Command(Protocol):
    """What a command does, with what it was given."""

    async def run(self, interruption: "Interruption") -> int: ...


def _run(make: Callable[[], Command]) -> int:
    """Raises: RtpError."""
    import trio

    from eventgraph.pipes import DestinationExistsError, PipeError
    from rtp.interruption import run_interruptibly

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        return trio.run(run_interruptibly, make().run)
    except DestinationExistsError as error:
        raise PipeCommandError(
            "another sender has that destination; use another name, or --standby to take over "
            "when it is gone"
        ) from error
    except PipeError as error:
        raise PipeCommandError(" ".join(str(error).split())) from error


def _group_and_count(text: str) -> tuple[str, int]:
    from eventgraph.pipes.options import check_name

    group, colon, count = text.rpartition(":")
    if not colon:
        return check_name("group", text), 1
    if not count.isdecimal() or int(count) < 1:
        raise PipeCommandError(f"--wait {text}: expected GROUP or GROUP:COUNT, such as mixers:2")
    return check_name("group", group), int(count)
