"""Who may use the HTTP edge, and what of the wrong kind comes in: nothing."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from eventgraph import Graph
from rtp.cli import main
from rtp.remote.asking import RemoteError
from rtp.remote.graph import fetch_graph
from rtp.server.config import NO_TOKEN, Host, HttpConfig, Origin, Token
from rtp.server.config_file import ConfigError, load_config
from rtp.server.errors import StartError
from rtp.server.gate import SECURITY_HEADERS
from rtp.server.http import listen
from rtp.server.token import VARIABLE, find_token, matches
from tests.server.test_http import assert_problem, connect, serving

SECRET = "0123456789-abcdef-secret"
ANYWHERE = HttpConfig(host=Host("0.0.0.0"), port=0, token=Token(SECRET))
FRIEND = "https://friend.example"


@asynccontextmanager
async def client_of(
    config: HttpConfig | None = None, **headers: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Graph() as graph,
        serving(graph, config or HttpConfig(port=0)) as url,
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client,
    ):
        yield client


# The token


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_token_it_does_not_listen_where_others_reach_it(host: str) -> None:
    with pytest.raises(StartError) as caught:
        listen(HttpConfig(host=Host(host), port=0))
    message = str(caught.value)
    assert f"HTTP on {host} can be reached from elsewhere and needs a token" in message
    assert VARIABLE in message
    assert "http.token_file" in message
    assert "\n" not in message


def test_server_without_its_token_ends_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from rtp.cli import main; sys.exit(main())",
            "serve",
            "--host",
            "0.0.0.0",
            "--port",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("eventgraph: HTTP on 0.0.0.0 can be reached from elsewhere")
    assert done.stderr.count("\n") == 1


async def test_with_the_token_everything_is_there() -> None:
    async with client_of(ANYWHERE, authorization=f"bearer {SECRET}") as client:
        for path in ("/graph", "/sessions/echo.sdp", "/healthz", "/"):
            assert (await client.get(path)).status_code == 200


async def test_without_the_token_there_is_only_what_tells_nothing() -> None:
    async with client_of(ANYWHERE) as client:
        for path in ("/graph", "/graph/events", "/sessions/echo.sdp", "/nowhere"):
            response = await client.get(path)
            assert_problem(response, 401, "Authorization: Bearer TOKEN")
            assert response.headers["www-authenticate"].startswith("Bearer ")
        assert (await client.post("/links")).status_code == 401
        assert (await client.post("/")).status_code == 401
        assert (await client.delete("/links")).status_code == 401
        for path in ("/", "/healthz", "/page/main.js"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "shown",
    [
        "x",
        SECRET[:-1],
        SECRET + "x",
        SECRET.upper(),
        "\N{LATIN SMALL LETTER E WITH ACUTE}" * 24,
    ],
)
async def test_wrong_token_is_refused_and_not_logged(
    shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="rtp")
    async with client_of(ANYWHERE) as client:
        header = b"Bearer " + shown.encode()
        response = await client.get("/graph", headers={b"authorization": header})
        assert_problem(response, 401, "that is not the token")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        await client.get("/graph", headers={"authorization": f"Bearer {SECRET}"})
    assert SECRET not in caplog.text


async def test_basic_authentication_does_not_count() -> None:
    async with client_of(ANYWHERE, authorization=f"Basic {SECRET}") as client:
        assert (await client.get("/graph")).status_code == 401


async def test_token_that_is_set_is_wanted_on_loopback_too() -> None:
    async with client_of(HttpConfig(port=0, token=Token(SECRET))) as client:
        assert (await client.get("/graph")).status_code == 401


def test_token_comes_from_the_environment_a_file_or_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}-file\n")
    in_file, in_settings = HttpConfig(token_file=str(path)), HttpConfig(token=Token(SECRET))
    assert find_token(HttpConfig(), {}) is None
    assert find_token(in_file, {}) == f"{SECRET}-file"
    assert find_token(in_settings, {}) == SECRET
    assert find_token(in_file, {VARIABLE: f"{SECRET}-environment"}) == f"{SECRET}-environment"
    assert matches(Token(SECRET), SECRET)


def test_token_that_cannot_be_used_is_named_but_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("too secret")
    with pytest.raises(StartError, match="16 to 256 characters") as caught:
        find_token(HttpConfig(token_file=str(path)), {})
    assert "too secret" not in str(caught.value)
    with pytest.raises(StartError, match="cannot be read"):
        find_token(HttpConfig(token_file=str(tmp_path / "none")), {})
    with pytest.raises(StartError, match="both set; keep one"):
        find_token(HttpConfig(token=Token(SECRET), token_file=str(path)), {})
    settings = tmp_path / "server.toml"
    settings.write_text('[http]\ntoken = "too secret"\n')
    with pytest.raises(ConfigError, match=r"http\.token: expected 16 to 256") as wrong:
        load_config(settings)
    assert "too secret" not in str(wrong.value)


def test_token_does_not_show_itself() -> None:
    assert SECRET not in repr(ANYWHERE)
    assert repr(NO_TOKEN) == "Token()"


async def test_command_line_shows_the_token_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Graph() as graph, serving(graph, ANYWHERE) as url:
        with pytest.raises(RemoteError, match="wants a token: set the environment variable"):
            await trio.to_thread.run_sync(fetch_graph, url)
        with pytest.raises(RemoteError, match="wants another token"):
            await trio.to_thread.run_sync(fetch_graph, url, "wrong")
        monkeypatch.setenv(VARIABLE, SECRET)
        assert await trio.to_thread.run_sync(partial(main, ["graph", "--url", url])) == 0
    assert "0 nodes" in capsys.readouterr().out


# Host and Origin


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:8080", "a.localhost:1"])
async def test_local_server_goes_by_the_names_of_loopback(host: str) -> None:
    async with client_of(host=host) as client:
        assert (await client.get("/graph")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "192.0.2.1", "127.0.0.1.evil"]
)
async def test_name_that_was_bound_anew_is_refused(host: str) -> None:
    async with client_of(host=host) as client:
        for path in ("/graph", "/", "/healthz"):
            assert_problem(await client.get(path), 421, "http.allowed_hosts")


@pytest.mark.parametrize("host", ["", "a b", "x@127.0.0.1", "127.0.0.1/x"])
async def test_host_that_is_none_is_refused(host: str) -> None:
    async with client_of(host=host) as client:
        assert (await client.get("/graph")).status_code == 400


async def test_name_can_be_allowed() -> None:
    config = HttpConfig(port=0, allowed_hosts=("Media.example",))
    async with client_of(config, host="media.EXAMPLE:443") as client:
        assert (await client.get("/graph")).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_pages_from_elsewhere_are_refused(origin: str) -> None:
    async with client_of(origin=origin) as client:
        for response in (await client.get("/graph"), await client.post("/links")):
            assert_problem(response, 403, "http.allowed_origins")
            assert "access-control-allow-origin" not in response.headers


async def test_own_page_is_let_in() -> None:
    async with client_of() as client:
        origin = str(client.base_url).rstrip("/")
        response = await client.get("/graph", headers={"origin": origin})
        assert response.status_code == 200


async def test_cors_is_open_to_whom_the_settings_name() -> None:
    config = HttpConfig(port=0, allowed_origins=(Origin(FRIEND),), token=Token(SECRET))
    async with client_of(config, origin=FRIEND) as client:
        asked = await client.options("/links", headers={"access-control-request-method": "POST"})
        assert asked.status_code == 204
        assert "authorization" in asked.headers["access-control-allow-headers"]
        for response in (asked, await client.get("/graph")):
            assert response.headers["access-control-allow-origin"] == FRIEND
            assert "access-control-allow-credentials" not in response.headers
            assert "origin" in response.headers["vary"]


# Sizes, headers, paths


async def test_large_body_is_refused_before_it_is_read() -> None:
    async with client_of(HttpConfig(port=0, max_body=1024)) as client:
        assert_problem(await client.post("/links", content=bytes(1025)), 413, "1024 bytes")


async def test_large_body_that_does_not_say_so_is_refused() -> None:
    config = HttpConfig(port=0, max_body=1024)
    async with Graph() as graph, serving(graph, config) as url, await connect(url) as stream:
        await stream.send_all(
            b"POST /links HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n400\r\n" + bytes(1024) + b"\r\n1\r\nx\r\n"
        )
        assert b" 413 " in await stream.receive_some()


@pytest.mark.parametrize("path", ["/", "/graph", "/nowhere", "/page/main.js", "/healthz"])
async def test_every_answer_has_the_security_headers(path: str) -> None:
    async with client_of(accept="text/html, */*") as client:
        headers = (await client.get(path)).headers
    for name in SECURITY_HEADERS:
        assert name in headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/page/../config.py",
        "/page/..%2fconfig.py",
        "/page/%2e%2e/config.py",
        "/page/__init__.py",
        "/page/%00",
        "/page//etc/passwd",
        "/page/..%5cconfig.py",
        "/sessions/..%2f..%2fetc%2fpasswd.sdp",
    ],
)
async def test_no_path_leads_to_a_file(path: str) -> None:
    async with Graph() as graph, serving(graph) as url, await connect(url) as stream:
        request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        answer = b"".join([data async for data in stream])
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"application/problem+json" in answer
