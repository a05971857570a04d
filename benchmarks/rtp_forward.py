"""Plain RTP through the graph: how much a forwarded packet costs.

    load --UDP to P+2i--> RtpSource --link--> Forwarder --link--> RtpSink --UDP--> load
    (this process)               (device under test, on one core)        (this process)

``python -m benchmarks.rtp_forward``            both, with baseline twins in the same run
``python -m benchmarks.rtp_forward serve ...``  the device under test alone, for a load of
                                                one's own

The baselines are the least that asyncio and uvloop can do: a DatagramProtocol a port that
rewrites nothing and counts nothing (``rtp_baseline``). They get the same load, in turns.
"""

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import trio

from benchmarks.descriptors import raise_descriptor_limit
from benchmarks.measure import Case, VerificationError, compare, verify
from benchmarks.result import Machine, Report, save
from benchmarks.rtp_load import Load, run_forwarder
from eventgraph import Address, Graph
from eventgraph.testing import wait_idle
from rtp import STATIC_FORMATS, PayloadFormat, RtpEndpoint, RtpNetwork
from rtp.nodes import Forwarder, RtpSink, RtpSource

ANY_FORMAT = {number: PayloadFormat("any", 8000) for number in range(128)} | STATIC_FORMATS
OTHER_FILES = 50  # descriptors for all but the ports
DEVICE: Final = ("benchmarks.rtp_forward", "serve")
TWIN: Final = ("benchmarks.rtp_baseline",)
GOALS: Final = {"asyncio": 0.8, "uvloop": 1.4}

app = cyclopts.App(name="benchmarks.rtp_forward", help=__doc__)


@app.command
def serve(
    *,
    streams: int,
    in_base: int,
    out_base: int | None = None,
    symmetric: bool = False,
    host: str = "127.0.0.1",
    rtcp: bool = False,
) -> None:
    """Forward streams until SIGTERM or SIGINT; print "ready" when the ports are bound.

    Parameters
    ----------
    streams
        How many.
    in_base
        P: stream i is received on UDP port P + 2i.
    out_base
        Q: stream i is sent to UDP port Q + 2i of 127.0.0.1.
    symmetric
        Send back to whoever sent, rather than to out_base.
    host
        Where to bind.
    rtcp
        Send and receive RTCP too, on the ports above, which then must be even. Off unless
        asked for: the port above another program's may be somebody else's.
    """
    if out_base is None and not symmetric:
        raise SystemExit("give --out-base, or --symmetric to send back to whoever sent")
    raise_descriptor_limit(2 * streams + OTHER_FILES)
    try:
        trio.run(forward, streams, host, in_base, None if symmetric else out_base, rtcp)
    except (OSError, ValueError) as error:  # a port is in use, or odd
        raise SystemExit(str(error)) from None


async def forward(streams: int, host: str, in_base: int, out_base: int | None, rtcp: bool) -> None:
    """Run the device under test, each stream in a scope of its own."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        endpoints: list[RtpEndpoint] = []
        async with RtpNetwork() as network, Graph() as graph:
            for i in range(streams):
                target = None if out_base is None else ("127.0.0.1", out_base + 2 * i)
                port = in_base + 2 * i
                endpoints.append(
                    add_stream(graph, network, i, host=host, port=port, target=target, rtcp=rtcp)
                )
            await wait_idle(graph)
            print("ready", flush=True)
            async for _ in signals:
                break
    statistics = [endpoint.statistics() for endpoint in endpoints]
    print(
        f"received {sum(s.rtp.received for s in statistics)}, "
        f"sent {sum(s.rtp.sent for s in statistics)}, "
        f"dropped {sum(sum(s.session.drops.values()) for s in statistics)}, "
        f"lost {sum(s.session.packets_lost for s in statistics)}, "
        f"unsent {sum(sum(s.rtp.unsent.values()) + sum(s.unsent.values()) for s in statistics)}, "
        f"socket drops {sum(sum(s.rtp.dropped.values()) for s in statistics)}",
        flush=True,
    )


def add_stream(
    graph: Graph,
    network: RtpNetwork,
    number: int,
    *,
    host: str,
    port: int,
    target: tuple[str, int] | None = None,
    rtcp: bool = False,
) -> RtpEndpoint:
    """A stream in a scope of its own; without a target it goes back to whoever sends."""
    endpoint = network.open(
        ANY_FORMAT, host=host, port=port, remote_rtp=target, learn=True, rtcp=rtcp
    )
    scope = f"stream-{number}"
    for node in (
        RtpSource(scope, "source", endpoint),
        Forwarder(scope, "forwarder"),
        RtpSink(scope, "sink", endpoint),
    ):
        graph.add_node(node)
    graph.link_up(Address(scope, "source"), Address(scope, "forwarder"))
    graph.link_up(Address(scope, "forwarder"), Address(scope, "sink"))
    return endpoint


@app.default
@app.command
def run(
    *,
    streams: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))] = 100,
    rate: float = 50.0,
    seconds: float = 5.0,
    rounds: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))] = 5,
    quick: bool = False,
    json: Path | None = None,
) -> int:
    """Load the device under test and its baselines in turns, and compare.

    The exit status is 1 if a goal was missed, 2 if a packet was lost or wrong.

    Parameters
    ----------
    streams
        How many at a time.
    rate
        Packets a second in each.
    seconds
        How long to load each of them, in each round.
    rounds
        How often.
    quick
        20 streams for a second, once: checks the results, and gives no figure to quote.
    json
        Write the figures there.
    """
    if quick:
        streams, seconds, rounds = 20, 1.0, 1
    load = Load(streams=streams, rate=rate, seconds=seconds)
    print(f"{streams} streams x {rate:g} packets/s for {seconds:g} s, each forwarder on one core")
    try:
        lines = compare(case(load, told=True), rounds)
    except VerificationError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 2
    for line in lines:
        print(
            f"a packet costs {line.ratio:.2f} times what it costs {line.baseline_name} "
            f"({min(line.ratios):.2f}-{max(line.ratios):.2f}, goal {line.goal})"
        )
    report = Report(machine=Machine.this(), quick=quick, comparisons=lines)
    if json:
        save(report, json)
    if quick:
        print("quick: every packet was verified; the figures are too short to quote")
    return int(report.missed and not quick)


def cases(quick: bool) -> list[Case]:
    """For the suite; each measurement takes some seconds."""
    load = Load(streams=20 if quick else 100, rate=50, seconds=0.5 if quick else 5)
    return [case(load)]


def case(load: Load, *, told: bool = False) -> Case:
    """The device beside bare forwarders, under this load; `told` prints each measurement."""

    def measure(name: str, command: list[str]) -> float:
        result = run_forwarder([sys.executable, "-m", *command], load)
        if told:
            print(
                f"{name:<12} sent {result.sent}, lost {result.lost}, wrong {result.wrong}; "
                f"latency p50 {result.latency(0.5):.0f} us, p99 {result.latency(0.99):.0f} us; "
                f"CPU {result.cpu:.1f} us/packet, {result.busy:.0%} of a core",
                flush=True,
            )
        verify(f"{name}: packets that the load itself lost", result.overflown, 0)
        verify(f"{name}: packets lost, wrong", (result.lost, result.wrong), (0, 0))
        return result.cpu * 1000

    return Case(
        f"RTP forwarded, {load.streams} streams: CPU a packet",
        partial(measure, "eventgraph", [*DEVICE]),
        {loop: partial(measure, loop, [*TWIN, f"--loop={loop}"]) for loop in GOALS},
        GOALS,
    )


if __name__ == "__main__":
    sys.exit(app())
