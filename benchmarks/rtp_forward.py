"""Plain RTP through the graph: how much a forwarded packet costs.

    load --UDP P+2i--> RtpSource --link--> Forwarder --link--> RtpSink --UDP Q+2i--> load
         (this process)            (device under test, one core)            (this process)

``python -m benchmarks.rtp_forward``            both, with a baseline twin in the same run
``python -m benchmarks.rtp_forward serve ...``  the device under test alone, for a load of
                                                one's own

The baseline is the least that asyncio can do: a DatagramProtocol a port that rewrites
nothing and counts nothing (``rtp_baseline``). It gets the same load, after the device.
"""

import signal
import sys
from typing import Annotated

import cyclopts
import trio

from benchmarks.descriptors import raise_descriptor_limit
from benchmarks.rtp_load import Forwarding, Load, run_forwarder
from eventgraph import Address, Graph
from eventgraph.testing import wait_idle
from rtp import STATIC_FORMATS, PayloadFormat, RtpEndpoint, RtpNetwork
from rtp.nodes import Forwarder, RtpSink, RtpSource

ANY_FORMAT = {number: PayloadFormat("any", 8000) for number in range(128)} | STATIC_FORMATS
OTHER_FILES = 50  # descriptors for all but the ports
TOLERANCE = 0.02  # of the time that the load may take longer than planned

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
                endpoint = network.open(
                    ANY_FORMAT,
                    host=host,
                    port=in_base + 2 * i,
                    remote_rtp=None if out_base is None else ("127.0.0.1", out_base + 2 * i),
                    learn=True,
                    rtcp=rtcp,
                )
                endpoints.append(endpoint)
                scope = f"stream-{i}"
                for node in (
                    RtpSource(scope, "source", endpoint),
                    Forwarder(scope, "forwarder"),
                    RtpSink(scope, "sink", endpoint),
                ):
                    graph.add_node(node)
                graph.link_up(Address(scope, "source"), Address(scope, "forwarder"))
                graph.link_up(Address(scope, "forwarder"), Address(scope, "sink"))
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


@app.default
@app.command
def run(
    *,
    streams: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))] = 200,
    rate: float = 50.0,
    seconds: float = 30.0,
    in_base: int = 20000,
    out_base: int = 26000,
    quick: bool = False,
) -> None:
    """Load the device under test and its baseline, and compare; exit 1 if a packet was lost.

    Parameters
    ----------
    streams
        How many at a time.
    rate
        Packets a second in each.
    seconds
        How long to load each of the two.
    in_base, out_base
        First UDP ports; see serve.
    quick
        20 streams for 2 seconds: checks the results, and gives no figure to quote.
    """
    if quick:
        streams, seconds = 20, 2.0
    raise_descriptor_limit(2 * streams + OTHER_FILES)
    load = Load(streams=streams, rate=rate, seconds=seconds, in_base=in_base, out_base=out_base)
    print(f"{streams} streams x {rate:g} packets/s for {seconds:g} s, each forwarder on one core")
    device = _measure("eventgraph", "benchmarks.rtp_forward", ["serve"], load)
    baseline = _measure("asyncio", "benchmarks.rtp_baseline", [], load)
    print(
        f"a packet costs {device.cpu / baseline.cpu:.2f} times what it costs the baseline, "
        "which neither parses nor counts nor rewrites"
        if baseline.cpu
        else "too short to compare"
    )
    if quick:
        print("quick: every packet was verified; the figures are too short to quote")
    sys.exit(int(device.failed))


def _measure(name: str, module: str, verb: list[str], load: Load) -> Forwarding:
    result = run_forwarder([sys.executable, "-m", module, *verb], load)
    print(
        f"{name:<12} sent {result.sent}, lost {result.lost}, wrong {result.wrong}; "
        f"latency p50 {result.latency(0.5):.0f} us, p99 {result.latency(0.99):.0f} us; "
        f"CPU {result.cpu:.1f} us/packet, {result.busy:.0%} of a core",
        flush=True,
    )
    if result.overflown or result.seconds > load.seconds * (1 + TOLERANCE):
        print(
            f"  void: the load itself took {result.seconds:.1f} s to send "
            f"and lost {result.overflown} packets on their way back"
        )
    return result


if __name__ == "__main__":
    app()
