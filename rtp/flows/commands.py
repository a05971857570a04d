"""The commands of ``eventgraph flows``, and what they take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter, validators

from rtp.flows.client_commands import add_client_commands
from rtp.flows.errors import FlowCommandError
from rtp.flows.options import RealmOptions
from rtp.flows.running import in_one_line, run_command
from rtp.pipes.options import Seconds

if TYPE_CHECKING:
    from eventgraph.flows import FlowFormat
    from rtp.flows.consume import BlockForm
    from rtp.flows.splitting import Splitter
    from rtp.flows.tone import Tone

Realm = Annotated[RealmOptions, Parameter(name="*")]
REALM: Final = RealmOptions()

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Verbose = Annotated[bool, Parameter(alias="-v", negative=(), show_default=False)]
FlowControl = Annotated[
    bool,
    Parameter(
        name=("--allow-flowcontrol", "--allow-flow-control"), negative=(), show_default=False
    ),
]
Count = Annotated[int, Parameter(alias="-n", validator=validators.Number(gte=1))]
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]

flows = App(
    name="flows",
    help="Timestamped media between processes and machines, through shared memory.",
    help_format="markdown",
    sort_key=21,
)


@flows.command(sort_key=1)
def serve(
    *,
    idle_timeout: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    realm: Realm = REALM,
) -> int:
    """Be the server of an application on this machine, until Ctrl-C.

    There is no need to: a client that finds no server starts one, which ends some time after the
    last client. When this one ends, its clients go on, and start another.

    Parameters
    ----------
    idle_timeout
        Seconds without a client after which it ends; 0: it stays.
    """
    from eventgraph.flows import FlowError
    from eventgraph.pipes import PipeError
    from rtp.flows.serve import run_server

    try:
        return run_server(realm.server(idle_timeout=idle_timeout))
    except (FlowError, PipeError) as error:
        raise in_one_line(error) from error


@flows.command(sort_key=2)
def ls(*, json: Flag = False, here: Flag = False, realm: Realm = REALM) -> int:
    """Print machines, clients and flows: who provides, who consumes, what is stopped, by whom.

    Parameters
    ----------
    json
        As JSON, for programs.
    here
        This machine alone.
    """
    from rtp.flows.look import Look

    return run_command(lambda: Look(realm=realm, form="json" if json else "tables", here=here))


@flows.command(sort_key=3, name="map")
def map_(*, mermaid: Flag = False, realm: Realm = REALM) -> int:
    """Print who feeds whom, as a tree: client, flow, and who consumes it, across machines.

    Parameters
    ----------
    mermaid
        As a Mermaid flowchart, which GitHub and mermaid.live draw.
    """
    from rtp.flows.look import Look

    return run_command(lambda: Look(realm=realm, form="mermaid" if mermaid else "text"))


@flows.command(sort_key=4)
def provide(
    key: str,
    /,
    *,
    format: Annotated[str | None, Parameter(alias="-f")] = None,
    block_size: Positive | None = None,
    length_prefixed: Flag = False,
    file: Path | None = None,
    tone: float | None = None,
    interval: Seconds | None = None,
    allow_flowcontrol: FlowControl = False,
    wait_client: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    slow_consumer: Literal["block", "drop_oldest"] | None = None,
    slots: int = 16,
    max_block: Positive | None = None,
    name: str | None = None,
    verbose: Verbose = False,
    realm: Realm = REALM,
) -> int:
    """Provide a flow: standard input, a file, or a tone. If another provides it, take it over.

    Each line is a block, if nothing else is said. It ends with the input, when another provider
    takes over, or with Ctrl-C, and says what it has provided.

    Parameters
    ----------
    key
        Of the flow: GROUP/NAME.
    format
        What is in it: a type, and parameters, such as AUDIO,rate=48000,channels=2,sample=s16; by
        default RAW, or what the tone is.
    block_size
        Bytes of each block, instead of lines; the last may have fewer.
    length_prefixed
        Before each block stands its length, 4 bytes, the highest first; instead of lines.
    file
        Read this instead of standard input.
    tone
        Hz: a sine in blocks of 20 ms, in real time; instead of any input.
    interval
        Seconds from one block to the next; without it, as fast as it goes.
    allow_flowcontrol
        Consumers may stop it: eventgraph flows stop.
    wait_client
        Begin when so many different clients have said START: eventgraph flows consume --start, or
        eventgraph flows start.
    slow_consumer
        What becomes of a block that a consumer is too slow for: block (the default, but for a
        tone) lets everybody wait, drop_oldest lets it miss some.
    slots
        Of the ring in shared memory: large blocks that there may be at a time.
    max_block
        Bytes; larger blocks are refused. Memory is used as far as it is written. By default what
        --block-size or --tone make, else 1 MiB.
    name
        Of this client, for people; by default as the command.
    verbose
        Say when it is stopped and started, also if standard error is no terminal.
    """
    from eventgraph.flows import FlowKey, ProviderOptions, SlowConsumer
    from rtp.flows.provide import Provide
    from rtp.flows.tone import DEFAULT

    inputs = {"--file": file, "--block-size": block_size, "--length-prefixed": length_prefixed}
    given = [option for option, value in inputs.items() if value]
    if tone is not None and (given or interval is not None):
        raise FlowCommandError(f"--tone needs no input: leave {(given or ['--interval'])[0]} out")
    if block_size is not None and length_prefixed:
        raise FlowCommandError("--block-size and --length-prefixed are two ways: choose one")

    def command() -> Provide:
        parsed = _format(format or (DEFAULT if tone is not None else "RAW"))
        sine = None if tone is None else _tone(tone, parsed)
        largest = max_block or block_size or (1 << 20 if sine is None else sine.block_size)
        slow = slow_consumer or ("block" if sine is None else "drop_oldest")
        options = ProviderOptions(
            slow_consumer=SlowConsumer(slow),
            slots=slots,
            max_block=largest,
            allow_flow_control=allow_flowcontrol,
            wait_clients=wait_client,
        )
        return Provide(
            realm=realm,
            name=name,
            key=FlowKey.parse(key),
            format=parsed,
            options=options,
            splitter=_splitter(block_size, length_prefixed, largest) if sine is None else None,
            file=file,
            tone=sine,
            interval=interval,
            verbose=verbose,
        )

    return run_command(command)


@flows.command(sort_key=5)
def consume(
    pattern: str,
    /,
    *,
    format: Annotated[str | None, Parameter(alias="-f")] = None,
    json: Flag = False,
    lines: Flag = False,
    raw: Flag = False,
    start: Flag = False,
    count: Count | None = None,
    idle: Seconds | None = None,
    name: str | None = None,
    verbose: Verbose = False,
    realm: Realm = REALM,
) -> int:
    """Consume flows, and print a line for each block: key, sequence number, timestamp, bytes.

    The provider may come later, and may come and go. Ends with Ctrl-C, or when nobody reads what it
    prints; says what was missed, and how often another provider took over.

    Parameters
    ----------
    pattern
        GROUP/NAME of the flow, or \\*/NAME for all of that name.
    format
        That is wanted, such as AUDIO,rate=16000,channels=1; a converter is started if need be.
    json
        One JSON object a block; the timestamp is in nanoseconds.
    lines
        What is in each block, and a newline.
    raw
        What is in the blocks, and nothing else.
    start
        Say START: for providers that wait for it (provide --wait-client).
    count
        End after so many blocks.
    idle
        End when nothing has come for so many seconds; if there should be a count, that is an error.
    name
        Of this client, for people; by default as the command.
    verbose
        Say when there is a provider, and of which format, also if standard error is no terminal;
        a format that changes is told in any case.
    """
    from eventgraph.flows import FlowPattern
    from rtp.flows.consume import Consume

    given: list[BlockForm] = ["json"] if json else []
    given += ["lines"] if lines else []
    given += ["raw"] if raw else []
    if len(given) > 1:
        raise FlowCommandError(f"--{given[0]} and --{given[1]} are two forms: choose one")
    return run_command(
        lambda: Consume(
            realm=realm,
            name=name,
            pattern=FlowPattern.parse(pattern),
            format=None if format is None else _format(format),
            form=given[0] if given else "text",
            start=start,
            count=count,
            idle=idle,
            verbose=verbose,
        )
    )


@flows.command(sort_key=6)
def stop(pattern: str, /, *, name: str | None = None, realm: Realm = REALM) -> int:
    """Stop the providers of a flow, for all who consume it, until Ctrl-C.

    A STOP lasts as long as who said it: when this command ends, however it ends, they run again,
    unless somebody else has stopped them, too. Those that do not allow flow control go on.

    Parameters
    ----------
    pattern
        GROUP/NAME of the flow, or \\*/NAME for all of that name.
    name
        Of this client, for people; by default as the command.
    """
    return _control(realm, name, pattern, start=False)


@flows.command(sort_key=7)
def start(pattern: str, /, *, name: str | None = None, realm: Realm = REALM) -> int:
    """Say START to the providers of a flow, and stay until Ctrl-C.

    For those that begin when so many clients have said it (provide --wait-client). It does not undo
    a STOP of somebody else: that lasts as long as who said it.

    Parameters
    ----------
    pattern
        GROUP/NAME of the flow, or \\*/NAME for all of that name.
    name
        Of this client, for people; by default as the command.
    """
    return _control(realm, name, pattern, start=True)


add_client_commands(flows)


def _control(realm: RealmOptions, name: str | None, pattern: str, *, start: bool) -> int:
    from eventgraph.flows import FlowPattern
    from rtp.flows.control import Control

    return run_command(
        lambda: Control(realm=realm, name=name, pattern=FlowPattern.parse(pattern), start=start)
    )


def _splitter(block_size: int | None, length_prefixed: bool, max_block: int) -> "Splitter":
    from rtp.flows.splitting import FixedBlocks, Lines, PrefixedBlocks

    if block_size is not None:
        if block_size > max_block:
            raise FlowCommandError(
                f"--block-size {block_size}: more than --max-block {max_block}; make that larger"
            )
        return FixedBlocks(block_size)
    return PrefixedBlocks(max_block) if length_prefixed else Lines(max_block)


def _format(text: str) -> "FlowFormat":
    """What is wrong with it is said before a server is started."""
    from eventgraph.flows import FlowFormat
    from eventgraph.flows.conversion.parameters import check_format

    format = FlowFormat.parse(text)
    check_format(format)
    return format


def _tone(frequency: float, format: "FlowFormat") -> "Tone":
    from rtp.flows.tone import Tone

    return Tone(frequency, format)
