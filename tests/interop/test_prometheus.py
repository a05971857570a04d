"""Prometheus' own tools read what a running server shows, with traffic."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.metrics.scraping import parse
from tests.rtp.pair import rtp
from tests.rtp.wire import peers
from tests.server.serving import serving
from tests.server.test_serve import wait_until

ALERTS = Path(__file__).parents[2] / "docs" / "operations" / "alerts.yml"


@pytest.mark.interop("prometheus")
def test_alerts_are_rules_of_prometheus() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "7 rules found" in done.stdout


@pytest.mark.interop("prometheus")
def test_promtool_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    with serving(tmp_path) as server, peers(1) as (peer,):
        port = int(server.commands("ffmpeg")[0].rpartition(":")[2])

        def scrape() -> bytes:
            return httpx.get(f"{server.url}/metrics", trust_env=False).content

        sent = 0

        def has_come() -> bool:
            nonlocal sent
            peer.send(rtp(sent), ("127.0.0.1", port))
            sent += 1
            return dict(parse(scrape()))["rtp_packets_received_total"] >= 10

        wait_until(has_come)
        text = scrape()
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        shown = dict(parse(text))
        assert shown["eventgraph_events_handled_total"] > 0
        assert shown["rtp_packets_sent_total"] > 0
        assert shown["eventgraph_nodes{state=running,type=RtpSource}"] == 1
