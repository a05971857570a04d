"""What ``/metrics`` says of a server as a whole, between two looks."""

from collections.abc import Mapping
from math import inf
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

LAG: Final = "eventgraph_lag_seconds_bucket"

Samples = Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]
"""By name, by labels."""


class ServerActivity(msgspec.Struct, frozen=True):
    """A server.

    Attributes:
        version: of the package.
        uptime: seconds.
        lag: seconds by which 99 of 100 timers were late at most; inf: later than can be told.
        processor: cores in use.
        memory: bytes.
        received, sent: RTP packets a second, of WebRTC too.
        loss: share of those that peers sent, 0 to 1; None: nothing came.
        delay: seconds, of the jitter buffer with the longest.
        takes: seconds in a handler, on average since the start, by class of the node; sampled.
    """

    version: str
    uptime: float
    lag: float
    processor: float
    memory: float
    descriptors: int
    threads: int
    tasks: int
    calls: int
    calls_limit: int
    received: float
    sent: float
    loss: float | None
    delay: float
    takes: dict[str, float]


def parse(text: str) -> Samples:
    """Read what Prometheus is shown.

    Raises:
        ValueError: it is something else.
    """
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def compare(before: Samples, now: Samples, seconds: float, epoch: float) -> ServerActivity:
    """What went on meanwhile.

    Args:
        seconds: between the two.
        epoch: the time now, since 1970; the clock of the server's machine is taken to be the same.
    """

    def value(name: str, of: Samples = now, direction: str = "") -> float:
        wanted = ("direction", direction)
        series = of.get(name, {}).items()
        return sum(v for labels, v in series if not direction or wanted in labels)

    def rate(name: str, direction: str = "") -> float:
        grown = value(name, now, direction) - value(name, before, direction)
        return max(0.0, grown) / seconds

    lost = rate("rtp_packets_lost_total") + rate("rtp_webrtc_packets_lost_total", "in")
    received = rate("rtp_packets_received_total") + rate("rtp_webrtc_network_packets_total", "in")
    return ServerActivity(
        version=next((dict(x)["version"] for x in now.get("eventgraph_build_info", {})), ""),
        uptime=max(0.0, epoch - value("process_start_time_seconds")),
        lag=_quantile(before.get(LAG, {}), now.get(LAG, {}), 0.99),
        processor=rate("process_cpu_seconds_total"),
        memory=value("process_resident_memory_bytes"),
        descriptors=int(value("process_open_fds")),
        threads=int(value("eventgraph_threads")),
        tasks=int(value("eventgraph_tasks")),
        calls=int(value("rtp_calls")),
        calls_limit=int(value("rtp_calls_limit")),
        received=received,
        sent=rate("rtp_packets_sent_total") + rate("rtp_webrtc_network_packets_total", "out"),
        loss=lost / (lost + received) if lost + received else None,
        delay=value("rtp_jitter_buffer_longest_delay_seconds"),
        takes=_means(now, "eventgraph_handler_seconds"),
    )


def _means(samples: Samples, histogram: str) -> dict[str, float]:
    """By type."""
    sums, counts = samples.get(f"{histogram}_sum", {}), samples.get(f"{histogram}_count", {})
    return {dict(labels)["type"]: sums[labels] / n for labels, n in counts.items() if n}


def _quantile(
    before: Mapping[tuple[tuple[str, str], ...], float],
    now: Mapping[tuple[tuple[str, str], ...], float],
    share: float,
) -> float:
    """The upper bound of the bucket in which it is."""
    grown = sorted(
        (float(dict(labels)["le"]), count - before.get(labels, 0)) for labels, count in now.items()
    )
    if not grown or not grown[-1][1]:
        return 0.0
    return next((le for le, count in grown if count >= share * grown[-1][1]), inf)
