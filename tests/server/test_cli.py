"""The command line: what a person sees, mistakes above all."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventgraph import Address, Counts, GraphSnapshot, NodeSnapshot, views
from rtp.cli import main

LIMIT = 60.0
"""Seconds for a command that ends by itself."""

SNAPSHOT = GraphSnapshot(
    [
        NodeSnapshot(
            address=Address("demo", "tone 日本"),
            type="ToneSource",
            state="running",
            inputs=0,
            outputs=0,
            max_links=16,
            channel_size=128,
            queued=0,
            waiting=0,
            to_self=Counts(),
            from_threads=Counts(),
        )
    ],
    [],
    Counts(),
    0,
    [],
)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives the same answer to everything; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def assert_one_line(captured: str, *parts: str) -> None:
    assert captured.startswith("eventgraph: ")
    assert captured.endswith("\n")
    assert captured.count("\n") == 1
    for part in parts:
        assert part in captured


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["srve"], 'Did you mean "serve"?'),
        (["serve", "--prt", "1"], "Did you mean --port?"),
        (["serve", "--port", "99999"], "--port"),
        (["serve", "--port", "x"], "--port"),
        (["serve", "--log-level", "loud"], '"debug", "info", "warning", "error"'),
        (["serve", "extra"], "extra"),
        (["graph", "--format", "png"], '"text", "mermaid", "dot", "json"'),
    ],
)
def test_wrong_command_line_is_one_line_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(arguments) == 2
    assert_one_line(capsys.readouterr().err, expected, "See `eventgraph", " --help`.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serve", "--host", "localhost"], "--host: expected a numeric IP address"),
        (["serve", "--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["graph", "--url", "nonsense"], "--url: expected something like http://127.0.0.1:8080"),
        (["graph", "--url", "ftp://127.0.0.1"], "--url: expected something like"),
        (["graph", "--url", "http://127.0.0.1:1"], "start one with `eventgraph serve`"),
        (["graph", "--url", "http://[::1"], "--url: expected something like"),
    ],
)
def test_what_does_not_work_is_one_line_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(arguments) == 1
    assert_one_line(capsys.readouterr().err, expected)


def test_mistake_in_the_settings_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[http]\nprot = 1\n")
    assert main(["serve", "--config", str(path)]) == 1
    assert_one_line(capsys.readouterr().err, f"{path}: http.prot", "nearest is http.port")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "eventgraph 0.1.0\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("serve", "graph", "bench"))


@pytest.mark.parametrize("form", ["text", "mermaid", "dot"])
def test_graph_of_a_server_is_drawn_in_any_form(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    with answering(200, views.to_json(SNAPSHOT)) as url:
        assert main(["graph", "--url", url, "--format", form]) == 0
    render = {"text": views.to_text, "mermaid": views.to_mermaid, "dot": views.to_dot}[form]
    assert capsys.readouterr().out == render(SNAPSHOT)


@pytest.mark.parametrize("path", ["", "/", "/graph", "/graph/"])
def test_graph_takes_the_url_with_its_path_or_without(
    capsys: pytest.CaptureFixture[str], path: str
) -> None:
    with answering(200, views.to_json(SNAPSHOT)) as url:
        assert main(["graph", "--url", url + path, "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["nodes"]) == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b"", "answers 404 Not Found; check --url"),
        (200, b"<html>", "does not answer with a graph"),
        (200, b'{"nodes": 1}', "does not answer with a graph"),
    ],
)
def test_graph_of_some_other_server_is_refused(
    capsys: pytest.CaptureFixture[str], status: int, body: bytes, expected: str
) -> None:
    with answering(status, body) as url:
        assert main(["graph", "--url", url]) == 1
    assert_one_line(capsys.readouterr().err, expected)


def test_proxy_of_the_environment_is_not_asked_for_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(200, views.to_json(SNAPSHOT)) as url:
        assert main(["graph", "--url", url]) == 0


def test_names_that_do_not_fit_the_terminal_are_escaped() -> None:
    with answering(200, views.to_json(SNAPSHOT)) as url:
        done = run("graph", "--url", url, environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "tone \\u65e5\\u672c" in done.stdout


def test_closed_pipe_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with answering(200, views.to_json(SNAPSHOT)) as url:
        done = subprocess.run(
            [sys.executable, "-c", CALL, "graph", "--url", url],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
        )
    os.close(writer)
    assert done.stderr == b""


CALL = "import sys; from rtp.cli import main; sys.exit(main())"


def run(
    *arguments: str, environment: dict[str, str] | None = None, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **(environment or {})},
        cwd=directory,
    )


def test_missing_extra_is_a_hint(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text(
        "raise ModuleNotFoundError('No module named cyclopts', name='cyclopts')"
    )
    done = run("--help", environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert_one_line(done.stderr, "cyclopts is not installed; try: pip install 'eventgraph[rtp]'")


def test_command_line_loads_no_heavy_module() -> None:
    code = (
        "import sys, rtp.cli, rtp.commands.app;"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    heavy = {"aiortc", "av", "numpy", "trio", "starlette", "hypercorn", "httpx"}
    assert not heavy & set(done.stdout.split())


def test_benchmarks_answer_their_own_help() -> None:
    done = run("bench", "--help")
    assert done.returncode == 0
    assert "--quick" in done.stdout


def test_outside_a_checkout_bench_says_how_to_get_one(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for package in ("eventgraph", "rtp"):
        shutil.copytree(root / package, tmp_path / package)
    done = run("bench", environment={"PYTHONPATH": str(tmp_path)}, directory=tmp_path)
    assert done.returncode == 1
    assert_one_line(done.stderr, "clone it, and run `make bench` there")
