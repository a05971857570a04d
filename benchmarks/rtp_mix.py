"""A conference by plain RTP: how much a party costs the mixer, and how soon it is heard.

    load --UDP to P+2i--> RtpSource --> MixerInput --> AudioMixer
    load <--UDP---------- RtpSink <-- G711Encoder <------'
    (this process)         (device under test, on one core)

Each of N parties sends PCMU, 20 ms a packet, and hears the N-1 others; all of them speak all
the time, so there are N distinct mixes in each frame.

``python -m benchmarks.rtp_mix``            load, verify, compare with the goals
``python -m benchmarks.rtp_mix serve ...``  the device under test alone, for a load of one's own
"""

import signal
import sys
from pathlib import Path
from typing import Final

import cyclopts
import trio

from benchmarks import rtp_first_heard
from benchmarks.descriptors import raise_descriptor_limit
from benchmarks.measure import Case, VerificationError, compare, verify
from benchmarks.result import Figure, Machine, Report, save
from benchmarks.rtp_device import OnItsOwnCore, free_ports
from benchmarks.rtp_load import Load, run_forwarder
from benchmarks.rtp_mix_load import RATE, Conference, Parties
from eventgraph import Address, Graph
from rtp import PCMU, RtpNetwork
from rtp.nodes import AudioMixer, G711Encoder, MixerInput, RtpSink, RtpSource

FORMATS: Final = {0: PCMU}
GOALS: Final = {24: 25 / 8.4, 100: 20 / 8.4}
"""Parties, and how many times the cost of a bare forwarder on uvloop a party may cost."""
LARGE: Final = 500  # parties that one core is to bear
LEAST_EXACT: Final = 0.1
"""Share of the mixes; with less even a busy machine is no excuse."""
ROOM: Final = Address("room", "mixer")
OTHER_FILES = 50  # descriptors for all but the ports

app = cyclopts.App(name="benchmarks.rtp_mix", help=__doc__)


@app.command
def serve(
    *,
    streams: int,
    in_base: int,
    out_base: int | None = None,
    symmetric: bool = False,
    host: str = "127.0.0.1",
) -> None:
    """Mix until SIGTERM or SIGINT; print "ready" when the ports are bound.

    Parameters
    ----------
    streams
        N: how many parties.
    in_base
        P: party i is received on UDP port P + 2i.
    out_base
        Q: party i is sent what it hears to UDP port Q + 2i of 127.0.0.1.
    symmetric
        Send it back to where the party sends from, rather than to out_base.
    host
        Where to bind.
    """
    if out_base is None and not symmetric:
        raise SystemExit("give --out-base, or --symmetric to send back to whoever sent")
    raise_descriptor_limit(streams + OTHER_FILES)
    try:
        trio.run(mix, streams, host, in_base, None if symmetric else out_base)
    except (OSError, ValueError) as error:  # a port is in use
        raise SystemExit(str(error)) from None


async def mix(streams: int, host: str, in_base: int, out_base: int | None) -> None:
    """Run the device under test: one room, each party in a scope of its own."""
    mixer = AudioMixer(*_place(ROOM))
    mixer.max_links = mixer.channel_size = max(mixer.max_links, streams)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with RtpNetwork() as network, Graph() as graph:
            entered = [graph.add_node(mixer)]
            for i in range(streams):
                endpoint = network.open(
                    FORMATS,
                    host=host,
                    port=in_base + 2 * i,
                    remote_rtp=None if out_base is None else ("127.0.0.1", out_base + 2 * i),
                    learn=True,
                    rtcp=False,
                )
                party = f"party-{i}"
                for node in (
                    RtpSource(party, "source", endpoint),
                    MixerInput(party, "voice", formats=FORMATS),
                    G711Encoder(party, "encoder"),
                    RtpSink(party, "sink", endpoint),
                ):
                    entered.append(graph.add_node(node))
                graph.link_up(Address(party, "source"), Address(party, "voice"))
                graph.link_up(Address(party, "voice"), ROOM)
                graph.link_up(ROOM, Address(party, "encoder"))
                graph.link_up(Address(party, "encoder"), Address(party, "sink"))
            for delegate in entered:
                await delegate.wait_entered()
            print("ready", flush=True)
            async for _ in signals:
                break
            room = mixer.statistics()
    print(
        f"parties {len(room.voices)}, frames {mixer.frame_number}, skipped {room.frames_skipped}, "
        f"mixes {room.mixes}, concealed {room.concealed}, faded {room.faded}",
        flush=True,
    )


@app.default
@app.command
def run(*, seconds: float = 5.0, quick: bool = False, json: Path | None = None) -> int:
    """Measure all of it; exit status 1 if a goal was missed, 2 if a result was wrong.

    Parameters
    ----------
    seconds
        How long to load each candidate, in each round.
    quick
        Few parties for a moment: checks the results, and gives no figure to quote.
    json
        Write the figures there.
    """
    report = Report(machine=Machine.this(), quick=quick)
    try:
        for case in cases(quick, seconds):
            report.comparisons.extend(compare(case, 1 if quick else 5))
            line = report.comparisons[-1]
            print(
                f"{line.name} {line.subject_median / 1000:.1f} us, {line.ratio:.2f} times "
                f"{line.baseline_name} ({min(line.ratios):.2f}-{max(line.ratios):.2f}, "
                f"goal {line.goal:.1f})",
                flush=True,
            )
        for figure in figures(quick, seconds):
            report.figures.append(figure)
            print(f"{figure.name} {figure.value:.3g} {figure.unit} (goal {figure.goal:g})")
    except VerificationError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 2
    if json:
        save(report, json)
    return int(report.missed and not quick)


def cases(quick: bool, seconds: float = 5.0) -> list[Case]:
    """For the suite: CPU a party and packet, beside a bare forwarder of as many streams.

    There is no mixer to stand beside that everybody has. The goals, 25 µs with 24 parties and 20
    with 100, are of a machine on which the forwarder took 8.4: here they are those ratios.
    """
    if quick:
        return [_case(6, 0.5, GOALS[24])]
    return [_case(parties, seconds, goal) for parties, goal in GOALS.items()]


def figures(quick: bool, seconds: float = 5.0) -> list[Figure]:
    """For the suite: whether a large room holds on one core, and how soon a newcomer is heard."""
    parties = 12 if quick else LARGE
    held = converse(parties, 0.5 if quick else seconds)
    return [
        Figure(
            name=f"mix of {parties} parties: not heard, or late",
            unit="%",
            values=[held.damaged * 100],
            goal=0.1,
        ),
        Figure(
            name=f"mix of {parties} parties: latest frame",
            unit="ms",
            values=[held.latest * 1000],
            goal=20,
        ),
        *rtp_first_heard.figures(quick),
    ]


def converse(parties: int, seconds: float) -> Conference:
    """One conference in a process on a core of its own."""
    in_base = free_ports(parties)
    arguments = [f"--streams={parties}", f"--in-base={in_base}", "--symmetric"]
    with OnItsOwnCore([sys.executable, "-m", "benchmarks.rtp_mix", "serve", *arguments]) as process:
        return Parties(parties, in_base).run(process, seconds)


def _case(parties: int, seconds: float, goal: float) -> Case:
    def mixer() -> float:
        result = converse(parties, seconds)
        verify("packets that the load itself lost", result.overflown, 0)
        # What is late because the machine was busy is concealed in all mixes of that frame.
        exact = 1 - result.wrong / max(result.heard, 1)
        verify("mixes are the sum of all others to the last bit", exact > LEAST_EXACT, True)
        return result.cpu * 1000

    def forwarder() -> float:
        load = Load(streams=parties, rate=RATE, seconds=seconds)
        command = [sys.executable, "-m", "benchmarks.rtp_baseline", "--loop=uvloop"]
        return run_forwarder(command, load).cpu * 1000

    return Case(
        f"mix of {parties} parties: CPU a party and packet",
        mixer,
        {"uvloop forwarder": forwarder},
        {"uvloop forwarder": goal},
    )


def _place(address: Address) -> tuple[str, str]:
    return address.scope, address.name


if __name__ == "__main__":
    sys.exit(app())
