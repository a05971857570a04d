"""The reference page and the dashboard have just the metrics that a server shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.metrics.scraping import names
from tests.server.serving import serving

DOCS = Path(__file__).parents[2] / "docs"
FOREIGN = re.compile(r"process_|python_")
"""Of prometheus-client: what there is depends on the platform."""
_IN_QUERY = re.compile(r"\b((?:eventgraph|rtp|process|python)_[a-z_]+)")
_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """By a real server."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        answer = httpx.get(f"{server.url}/metrics", trust_env=False)
        assert answer.status_code == 200
        return answer.content


def test_table_of_the_reference_is_what_is_exported(exported: bytes) -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `((?:eventgraph|rtp)_\w+)` \| (\w+)", page, re.MULTILINE))
    types = dict(
        line.split()[2:4] for line in exported.decode().splitlines() if line.startswith("# TYPE")
    )
    assert rows == {name: kind for name, kind in types.items() if not FOREIGN.match(name)}


def test_labels_are_those_of_the_reference(exported: bytes) -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    named = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", page, re.MULTILINE)
    }
    for name, labels in re.findall(r"^(\w+)\{([^}]*)\}", exported.decode(), re.MULTILINE):
        if not FOREIGN.match(name):
            family = name if name in named else _OF_HISTOGRAM.sub("", name)
            assert set(re.findall(r"(\w+)=", labels)) - {"le"} == named[family], name


def expressions(dashboard: Any) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable.get("definition", "")


def test_every_metric_of_the_dashboard_exists(exported: bytes) -> None:
    dashboard = json.loads((DOCS / "operations" / "grafana.json").read_text(encoding="utf-8"))
    there = names(exported)
    asked = {m for text in expressions(dashboard) for m in _IN_QUERY.findall(text)}
    assert len(asked) > 30
    missing = {m for m in asked if m not in there and _OF_HISTOGRAM.sub("", m) not in there}
    assert not missing
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))


def test_every_metric_of_the_alerts_exists(exported: bytes) -> None:
    text = (DOCS / "operations" / "alerts.yml").read_text(encoding="utf-8")
    there = names(exported)
    asked = set(_IN_QUERY.findall(text))
    assert len(asked) > 5
    assert {m for m in asked if m not in there and _OF_HISTOGRAM.sub("", m) not in there} == set()


def test_what_the_server_shows_is_on_the_dashboard(exported: bytes) -> None:
    text = (DOCS / "operations" / "grafana.json").read_text(encoding="utf-8")
    own = {name for name in names(exported) if not FOREIGN.match(name)}
    unused = {name for name in own if name not in text}
    assert unused <= NOT_DRAWN


NOT_DRAWN = {
    "eventgraph_events_offered_total",  # the sum of the others
    "eventgraph_links",
    "rtp_packets_unclaimed_total",
    "rtp_rtcp_packets_received_total",
    "rtp_rtcp_packets_sent_total",
    "rtp_jitter_buffers",
    "rtp_jitter_buffer_target_seconds",
    "rtp_jitter_buffer_longest_delay_seconds",
    "rtp_jitter_buffer_played_total",
    "rtp_jitter_buffer_underruns_total",
}
