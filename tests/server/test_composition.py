"""The composition of a server: over HTTP, and from the command line."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from eventgraph import Address, Graph, Node
from eventgraph.language import Composition, Difference
from rtp.cli import main
from rtp.network import RtpNetwork
from rtp.server.composition import open_composition, open_endpoints
from rtp.server.config import Config, DemoConfig, HttpConfig, RecordingsConfig, RtpConfig
from rtp.server.demo import demo_text
from rtp.server.http import serve_http
from tests.server.serving import CALL, serving
from tests.server.test_http import assert_problem, running

LIMIT = 60.0
"""Seconds for a command that ends by itself."""

PLAIN = {"content-type": "text/plain; charset=utf-8"}
TEXT = "[tone:tone_source] -> [fan:pubsub] -> {[meter:level_meter], [file:wav_recorder path=x.wav]}"


@asynccontextmanager
async def edge(
    directory: Path, config: Config | None = None
) -> AsyncIterator[tuple[Composition, httpx.AsyncClient, Graph]]:
    """A server without the demo."""
    recordings = RecordingsConfig(directory=str(directory / "recordings"))
    config = msgspec.structs.replace(config or Config(), recordings=recordings)
    async with RtpNetwork() as network, Graph() as graph:
        composition = open_composition(graph, open_endpoints(network, config), config)
        serve = partial(serve_http, graph, HttpConfig(port=0), composition=composition)
        async with (
            running(serve) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=LIMIT) as client,
        ):
            yield composition, client, graph


async def put(client: httpx.AsyncClient, text: str, query: str = "") -> httpx.Response:
    return await client.put(f"/composition{query}", content=text.encode(), headers=PLAIN)


def names(graph: Graph) -> set[str]:
    return {node.address.name for node in graph.snapshot().nodes}


async def test_text_is_composed_shown_and_changed(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, client, graph):
        assert (await client.get("/composition")).text == ""
        response = await put(client, TEXT)
        assert response.status_code == 200
        made = msgspec.json.decode(response.content, type=Difference)
        assert {address.name for address in made.added} == {"tone", "fan", "meter", "file"}
        shown = await client.get("/composition")
        assert shown.headers["content-type"] == "text/plain; charset=utf-8"
        assert shown.headers["cache-control"] == "no-store"
        assert shown.text == (
            "[tone:tone_source] -> [fan:pubsub];\n"
            "[fan] -> {[meter:level_meter], [file:wav_recorder path=x.wav]}\n"
        )
        links = {link.receiver.name: link.id for link in graph.snapshot().links}
        response = await put(client, TEXT.replace("[meter:", "[m2:"))
        changed = msgspec.json.decode(response.content, type=Difference)

        assert changed.added == (Address("main", "m2"),)
        assert changed.removed == (Address("main", "meter"),)
        after = {link.receiver.name: link.id for link in graph.snapshot().links if link.up}
        assert (after["fan"], after["file"]) == (links["fan"], links["file"])
        again = await put(client, (await client.get("/composition")).text)
        assert not msgspec.json.decode(again.content, type=Difference)


async def test_check_changes_nothing(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, client, graph):
        response = await put(client, TEXT, "?check=1")
        assert len(msgspec.json.decode(response.content, type=Difference).added) == 4
        assert names(graph) == set()
        assert_problem(await put(client, "[a:b]", "?check=1"), 422, "no type of node 'b'")
    assert not (tmp_path / "recordings").exists()


@pytest.mark.parametrize(
    ("text", "status", "part"),
    [
        ("[a", 400, "line 1, column 3: the text ends too early"),
        ("[a:tone_source ->", 400, "    [a:tone_source ->\n                   ^"),
        ("[a:nothing]", 422, "there is no type of node 'nothing'"),
        ("[a:tone_source level=loud]", 422, "level is 'loud'"),
        ("[a:tone_source] -> [b:video_decoder]", 422, "the sender offers audio/pcm"),
        ("[a:tone_source]; [a:pubsub]", 409, "is a pubsub here"),
        ("[there:pubsub]", 409, "there is a node at there@main already"),
        ("[a:player path=none.wav]", 409, "a@main did not come up"),
        ("[a:wav_recorder path='../../x.wav']", 422, "give one below"),
        ("[a:rtp_sink listener='192.0.2.1:5004']", 422, "rtp.any_target"),
        ("[a:rtp_sink listener='example.com:5004']", 422, "rtp.any_target"),
        ("{" + "[a]" * 9, 400, "expected"),
    ],
)
async def test_text_that_does_not_work_is_a_problem_with_its_place(
    text: str, status: int, part: str, tmp_path: Path
) -> None:
    async with edge(tmp_path) as (_, client, graph):
        graph.add_node(Node("main", "there"))
        assert_problem(await put(client, text), status, part)
        assert names(graph) == {"there"}


@pytest.mark.parametrize(
    ("kind", "content", "query", "status"),
    [
        ("application/json", b"{}", "", 415),
        ("application/x-www-form-urlencoded", b"", "", 415),
        ("text/plain; charset=latin-1", b"", "", 415),
        ("text/plain", b"\xff", "", 400),
        ("text/plain", b"", "?check=0", 400),
        ("text/plain", b"", "?check=1&check=1", 400),
        ("text/plain", b"", "?x=1", 400),
        ("text/plain", b" " * 70_000, "", 413),
    ],
)
async def test_request_that_is_no_text_is_refused(
    kind: str, content: bytes, query: str, status: int, tmp_path: Path
) -> None:
    async with edge(tmp_path) as (_, client, _graph):
        headers = {"content-type": kind}
        response = await client.put(f"/composition{query}", content=content, headers=headers)
        assert_problem(response, status, "")


async def test_first_composition_can_be_insisted_on(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, client, graph):
        headers = {**PLAIN, "if-none-match": "*"}
        for text, status in ((TEXT, 200), ("[a:pubsub]", 412)):
            response = await client.put("/composition", content=text, headers=headers)
            assert response.status_code == status
        assert names(graph) == {"tone", "fan", "meter", "file"}


async def test_changes_at_once_are_done_one_after_the_other(tmp_path: Path) -> None:
    async with edge(tmp_path) as (composition, client, graph):
        answers: list[int] = []

        async def change(number: int) -> None:
            text = f"[a:pubsub max_links={number}] -> [b{number % 3}:pubsub]"
            answers.append((await put(client, text)).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(1, 13):
                nursery.start_soon(change, number)
        assert answers == [200] * 12
        assert len(names(graph)) == 2
        assert not composition.difference(composition.describe())


async def test_configuration_opens_listeners_elsewhere(tmp_path: Path) -> None:
    config = Config(rtp=RtpConfig(any_target=True))
    async with edge(tmp_path, config) as (_, client, _graph):
        response = await put(client, "[a:rtp_sink listener='192.0.2.1:5004']")
        assert response.status_code == 200


async def test_server_without_a_composition_has_no_route() -> None:
    async with (
        Graph() as graph,
        running(partial(serve_http, graph, HttpConfig(port=0))) as url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert_problem(await client.get(f"{url}/composition"), 404, "/composition")
        assert "/composition" not in (await client.get(url)).text


# The demo, from the command line


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def test_demo_is_a_text_that_is_changed_live(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = httpx.get(f"{server.url}/composition", trust_env=False).text
        assert "[fan@tone]\n    -> {\n        [meter@tone:level_meter],\n" in before
        kept = server.link("fan@tone", "meter@tone").id
        changed = tmp_path / "changed.graph"
        changed.write_text(
            before.rstrip("\n") + ";\n[sound@echo] -> [quiet@echo:silence_detector];\n"
            "[fan@tone] -> [meter@echo]\n"
        )
        done = run("diff", str(changed), "--url", server.url)
        assert (done.returncode, done.stderr) == (0, "")
        expected = "+ [quiet@echo]\n+ [sound@echo] -> [quiet@echo]\n+ [fan@tone] -> [meter@echo]\n"
        assert sorted(done.stdout.splitlines()) == sorted(expected.splitlines())
        assert httpx.get(f"{server.url}/composition", trust_env=False).text == before
        assert run("apply", str(changed), "--url", server.url).stdout == done.stdout
        assert server.link("fan@tone", "meter@tone").id == kept
        assert server.link("fan@tone", "meter@echo").up
        again = run("apply", "-", "--url", server.url, text=changed.read_text())
        assert again.stdout == "no change\n"
        refused = run("compose", str(changed), "--url", server.url)
        assert refused.returncode == 1
        assert "there is a composition already" in refused.stderr
        back = run("apply", "-", "--url", server.url, text=before)
        assert "- [quiet@echo]" in back.stdout
        assert httpx.get(f"{server.url}/composition", trust_env=False).text == before
        assert server.end() == (0, "")


def test_mistake_is_shown_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with serving(tmp_path) as server:
        wrong = tmp_path / "wrong.graph"
        wrong.write_text("[a:tone_source] ->\n  [b:nothing]\n")
        for command in ("apply", "diff"):
            assert main([command, str(wrong), "--url", server.url]) == 1
            assert (
                capsys.readouterr()
                .err.splitlines()[0]
                .startswith(
                    f"eventgraph: {wrong}: line 2, column 3: there is no type of node 'nothing'"
                )
            )


def test_nobody_to_ask_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.graph"
    file.write_text(TEXT)
    assert main(["apply", str(file), "--url", "http://127.0.0.1:1"]) == 1
    errors = capsys.readouterr().err
    assert "start one with `eventgraph serve`" in errors
    assert errors.count("\n") == 1


def test_text_is_checked_without_a_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.graph"
    file.write_text(TEXT + " ; [fan] -> [somebody@lobby]")
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert out == f"{file}: 4 nodes, 4 links\n  somebody@lobby is taken to be there\n"
    file.write_text("[a:tone_source]\n-> [b:rtp_source]")
    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"eventgraph: {file}: line 2, column 1: a@main cannot be linked to b@main: "
        "the sender offers audio/pcm and the receiver accepts nothing",
        "    -> [b:rtp_source]",
        "    ^",
    ]


def test_text_is_formatted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.graph"
    file.write_text("[a]->[ b : c  x = 'y' ] # why\n")
    assert main(["fmt", str(file)]) == 0
    assert capsys.readouterr().out == "# why\n[a] -> [b:c x=y]\n"
    assert "why\n" in file.read_text()
    assert main(["fmt", "-w", str(file)]) == 0
    assert file.read_text() == "# why\n[a] -> [b:c x=y]\n"
    assert run("fmt", "-", text="[a ]").stdout == "[a]\n"
    assert main(["fmt", str(tmp_path / "none")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
    file.write_bytes(b"\xff")
    assert main(["fmt", str(file)]) == 1
    assert "is not UTF-8" in capsys.readouterr().err


def test_text_of_the_demo_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "demo.graph"
    file.write_text(demo_text(DemoConfig(), tone=[Path("r/t.wav")], echo=[Path("r/e.wav")]))
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: 13 nodes, 11 links\n"
