"""Prometheus itself scrapes a server as the page says; alerts and dashboard are asked of it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.pipes.processes import PROJECT
from tests.rtp.pair import rtp
from tests.rtp.wire import peers
from tests.server.serving import ANY_PORTS, serving
from tests.server.test_metrics_docs import expressions
from tests.server.test_serve import wait_until

TOKEN = "a-token-of-sixteen-or-more"
PAGE = PROJECT / "docs/how-to/production.md"
OPERATIONS = PROJECT / "docs/operations"
SETTINGS = ANY_PORTS.replace(
    "port = 0\n", f'port = 0\ntoken = "{TOKEN}"\ncertificate = "tls.crt"\nkey = "tls.key"\n', 1
)
QUIET = {
    "eventgraph_remote_events_dropped_total",
    "eventgraph_traces_missed_total",
    "rtp_webrtc_packets_dropped_total",
}
"""Those that have no series before the first one is dropped."""

pytestmark = pytest.mark.interop("prometheus")


class Prometheus:
    """One that runs."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer, which is no error."""
        answer = self._http.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def query(self, expression: str) -> list[float]:
        found = self.get("/query", query=expression)
        assert found["resultType"] == "vector", expression
        return [float(each["value"][1]) for each in found["result"]]


@contextmanager
def prometheus(directory: Path, configuration: str) -> Iterator[Prometheus]:
    """On a port that is free, with what it keeps in the directory."""
    file, log = directory / "prometheus.yml", directory / "prometheus.log"
    file.write_text(configuration)
    command = [
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"),
        "--web.listen-address=127.0.0.1:0",
    ]
    with log.open("w") as stream, subprocess.Popen(command, stderr=stream) as process:
        try:
            wait_until(lambda: 'msg="Listening on"' in log.read_text())
            found = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
            assert found is not None
            url = f"http://{found[1]}/api/v1"
            with httpx.Client(base_url=url, trust_env=False) as http:
                yield Prometheus(http)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Configured by the page; a server with traffic was scraped several times."""
    directory = tmp_path_factory.mktemp("scraping")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(directory / "tls.crt")
    issued.private_key_pem.write_to_path(directory / "tls.key")
    authority.cert_pem.write_to_path(directory / "eventgraph.crt")
    (directory / "eventgraph.token").write_text(TOKEN + "\n")
    with serving(directory, SETTINGS) as server, peers(1) as (peer,):
        text = re.search(r"^  ```yaml\n(.*?)^  ```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert text is not None
        configuration = re.sub("^  ", "", text[1], flags=re.MULTILINE)
        configuration = configuration.replace("/etc/prometheus", str(directory))
        configuration = configuration.replace("media.example:8443", server.url.split("/")[2])
        begin = (
            "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n"
        )
        rules = f"rule_files: [{OPERATIONS / 'alerts.yml'}]\n"
        with prometheus(directory, begin + rules + configuration) as running:
            port = int(server.commands("ffmpeg")[0].rpartition(":")[2])
            sent = 0

            def has_been_scraped_with_traffic() -> bool:
                nonlocal sent
                peer.send(rtp(sent), ("127.0.0.1", port))
                sent += 1
                (rate, *_) = [*running.query("rate(rtp_packets_received_total[1m])"), 0.0]
                return rate > 0 and running.query("sum_over_time(up[1m])")[0] >= 8

            wait_until(has_been_scraped_with_traffic)
            yield running


def test_server_is_scraped_over_tls_with_its_token(scraping: Prometheus) -> None:
    (target,) = scraping.get("/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["scrapeUrl"].startswith("https://")


def test_every_expression_of_the_dashboard_has_an_answer(scraping: Prometheus) -> None:
    dashboard = json.loads((OPERATIONS / "grafana.json").read_text(encoding="utf-8"))
    asked = [text for text in expressions(dashboard) if text and "label_values" not in text]
    assert len(asked) > 50
    silent = [text for text in asked if not scraping.query(filled_in(text))]
    assert [text for text in silent if not any(name in text for name in QUIET)] == []


def filled_in(text: str) -> str:
    """As Grafana asks it, but for the filter that leaves out what is nought."""
    text = re.sub(r"\$(job|instance)\b", ".*", text.replace("$__rate_interval", "1m"))
    assert "$" not in text
    return text.removesuffix(" > 0")


def test_choices_of_the_dashboard_are_labels_of_the_server(scraping: Prometheus) -> None:
    for label in ("job", "instance"):
        found = scraping.get(f"/label/{label}/values", **{"match[]": "eventgraph_build_info"})
        assert len(found) == 1


def test_every_alert_is_evaluated_and_none_fires_on_a_server_that_is_well(
    scraping: Prometheus,
) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules(scraping)))
    assert len(rules(scraping)) == 7
    for rule in rules(scraping):
        assert rule["health"] == "ok", rule
        assert rule["state"] != "firing", rule


def rules(scraping: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in scraping.get("/rules")["groups"] for rule in group["rules"]]


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    cases = PROJECT / "tests/interop/alerts_test.yml"
    done = subprocess.run(
        ["promtool", "test", "rules", str(cases)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = set(re.findall(r"alertname: (\w+)", cases.read_text()))
    assert named == set(re.findall(r"alert: (\w+)", (OPERATIONS / "alerts.yml").read_text()))
