"""Traces as a collector gets them: by OTLP, of several processes."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import trio

from eventgraph.telemetry.otlp import open_otlp
from tests.server.serving import ANY_PORTS, CALL, serving
from tests.telemetry.collector import collecting

PATIENCE = 60.0  # seconds, many times what anything here takes


def test_three_processes_write_one_trace_whose_times_add_up(tmp_path: Path) -> None:
    phases = ["queue", "handler"]  # out@begin
    phases += ["wire", "handler", "queue", "handler", "queue", "handler"]  # in, relay, out@middle
    phases += ["wire", "handler", "queue", "handler"]  # in, sink@end
    with collecting() as collector, ExitStack() as running:
        processes = []
        for part in ("begin", "middle", "end"):
            command = [sys.executable, "-m", "tests.telemetry.traced_process", part]
            process = running.enter_context(
                subprocess.Popen([*command, collector.url, str(tmp_path)], stdin=subprocess.PIPE)
            )
            running.callback(process.kill)
            processes.append(process)
        parts = None
        give_up = time.monotonic() + PATIENCE
        while parts is None and time.monotonic() < give_up:
            time.sleep(0.1)
            parts = collector.trace(phases)
            assert [process.poll() for process in processes] == [None] * 3
        for process in reversed(processes):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
    assert parts is not None, [span[2:5] for span in collector.spans[-50:]]
    for before, after in pairwise(parts):
        assert before.end == after.start
    took = sum(span.end - span.start for span in parts)
    assert took == parts[-1].end - parts[0].start
    services = ["begin"] * 2 + ["middle"] * 6 + ["end"] * 4
    assert [span.service for span in parts] == services
    assert len({span.trace for span in parts}) == 1


def test_server_sends_traces_to_the_collector_of_its_settings(tmp_path: Path) -> None:
    with collecting() as collector:
        settings = f"""{ANY_PORTS}
[traces]
endpoint = "{collector.url}"
interval = 0.05
origins = ["tone@tone"]
"""
        with serving(tmp_path, settings) as server:
            give_up = time.monotonic() + PATIENCE
            while not collector.spans and time.monotonic() < give_up:
                time.sleep(0.1)
            metrics = httpx.get(f"{server.url}/metrics", trust_env=False).text
            status, errors = server.end()
        assert (status, errors.count("Traceback")) == (0, 0), errors
    names = {span.name for span in collector.spans}
    assert "event of tone@tone" in names
    assert {span.service for span in collector.spans} == {"eventgraph"}
    assert 'eventgraph_traces_total{origin="here"}' in metrics


@pytest.mark.parametrize("answers", [False, True], ids=["nobody there", "it hangs"])
async def test_collector_that_is_not_there_holds_up_nobody(answers: bool) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    if not answers:
        await listeners[0].aclose()
    began = trio.current_time()
    async with open_otlp(f"http://127.0.0.1:{port}/v1/traces") as provider:
        provider.get_tracer("test").start_span("lost").end()
    assert trio.current_time() - began < 30  # a second or two
    for listener in listeners:
        await listener.aclose()
    with trio.fail_after(PATIENCE):
        while any("Otel" in thread.name for thread in threading.enumerate()):  # noqa: ASYNC110
            await trio.sleep(0.05)


def test_settings_name_what_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')"
    )
    path = tmp_path / "server.toml"
    path.write_text(f'{ANY_PORTS}[traces]\nendpoint = "http://127.0.0.1:9/v1/traces"\n')
    done = subprocess.run(
        [sys.executable, "-c", CALL, "serve", "--config", str(path)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "eventgraph: traces.endpoint is set, but opentelemetry is not installed: "
        "pip install 'eventgraph[otel]'"
    )
