"""SoundCollector: the jitter buffers of a graph, in playouts and mixers."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric

from eventgraph import Address, Graph, Node, Observer
from eventgraph.metrics.collector import SlicedCollector, counter, counters, gauge
from eventgraph.metrics.distribution import Distribution
from eventgraph.metrics.ratchet import Ratchet
from eventgraph.slices import Steps
from eventgraph.statistics import REMOTE

from ..nodes import AudioMixer, Playout
from ..playout import Discard, JitterStatistics

DELAYS: Final = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Seconds; a buffer holds no more than 0.4."""

Buffer = tuple[Node, str, int]
"""Where it is, whose, and which of several."""
Count = tuple[str, str]
"""What is counted, and why or ""."""


class SoundCollector(SlicedCollector, Observer):
    """Follows the nodes that have jitter buffers; those that have left stay in the totals."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._nodes: dict[Address, Playout | AudioMixer] = {}
        self._totals = Ratchet[Buffer, Count]()
        self._delay = Distribution(DELAYS)
        self._target = Distribution(DELAYS)
        for node in graph.snapshot().nodes:
            if node.state != REMOTE:
                self.on_node_added(node.address)
        graph.observe(self)

    def on_node_added(self, address: Address) -> None:
        node = self._graph.node_at(address)
        if isinstance(node, Playout | AudioMixer):
            self._nodes[address] = node

    def on_node_left(self, address: Address) -> None:
        node = self._nodes.pop(address, None)
        if node is not None:
            for buffer, statistics in _buffers(node):
                self._totals.look(buffer, _counts(statistics))
                self._totals.forget(buffer)

    def read_steps(self) -> Steps[list[Metric]]:
        there: set[Buffer] = set()
        fullest = 0.0
        for address, node in list(self._nodes.items()):
            yield
            if self._nodes.get(address) is not node:  # it left meanwhile
                continue
            for buffer, statistics in _buffers(node):
                there.add(buffer)
                self._totals.look(buffer, _counts(statistics))
                if statistics.played:
                    self._delay.observe(statistics.delay)
                    self._target.observe(statistics.target)
                    fullest = max(fullest, statistics.delay)
        self._totals.forget_others(there)
        text = "Jitter buffers: streams of sound that are being played."
        metrics = [gauge("rtp_jitter_buffers", text, len(there))]
        text = "Delay of each jitter buffer, all looked at once an answer."
        metrics.append(self._delay.metric("rtp_jitter_buffer_delay_seconds", text))
        text = "Delay that each jitter buffer aims at, likewise."
        metrics.append(self._target.metric("rtp_jitter_buffer_target_seconds", text))
        text = "Delay of the jitter buffer with the longest."
        metrics.append(gauge("rtp_jitter_buffer_longest_delay_seconds", text, fullest))
        return [*metrics, *self._counters()]

    def _counters(self) -> Iterator[Metric]:
        totals = self._totals.totals
        for what, text in _TEXTS.items():
            yield counter(f"rtp_jitter_buffer_{what}", text, totals[what, ""])
        by_reason = {(reason.value,): totals["discarded", reason.value] for reason in Discard}
        text = "Packets that were not played."
        yield counters("rtp_jitter_buffer_discarded", text, "reason", by_reason)


_TEXTS: Final = {
    "played": "Packets that were played.",
    "missing": "Packets that were not there in time.",
    "concealed": "Times that something was played for a packet that was not there.",
    "underruns": "Times of those that nothing at all was there.",
}


def _buffers(node: Playout | AudioMixer) -> Iterator[tuple[Buffer, JitterStatistics]]:
    if isinstance(node, Playout):
        jitter = node.statistics().jitter
        if jitter is not None:
            yield (node, "", 0), jitter
        return
    for party, voices in node.statistics().voices.items():
        for number, voice in enumerate(voices):
            if voice.jitter is not None:
                yield (node, party, number), voice.jitter


def _counts(statistics: JitterStatistics) -> Counter[Count]:
    counts: Counter[Count] = Counter(
        {
            ("played", ""): statistics.played,
            ("missing", ""): statistics.missing,
            ("concealed", ""): statistics.concealed,
            ("underruns", ""): statistics.underruns,
        }
    )
    for reason, count in statistics.discards.items():
        counts["discarded", reason.value] = count
    return counts
