"""Tokens: good for what they say and no longer, told apart in constant time, and never logged."""

import base64
import hmac
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from eventgraph import Graph
from rtp.network import RtpNetwork
from rtp.payload_format import PCMU
from rtp.sdp import create_offer
from rtp.server.access import ALL, Right, is_allowed, needed
from rtp.server.authority import (
    MAX_LIFE,
    MAX_SHOWN,
    MIN_SIGNER,
    ExpiredTokenError,
    SigningError,
    TokenAuthority,
    WrongTokenError,
)
from rtp.server.calls import open_calls
from rtp.server.config import Config, HttpConfig, Token
from rtp.server.http import application, serve_http
from rtp.server.live import LiveGraph
from rtp.server.statistics import Statistics
from rtp.server.token import VARIABLE
from tests.server.serving import ANY_PORTS, CALL, serving
from tests.server.test_http import assert_problem, running

SECRET = Token("the-token-of-this-server-0123456789")
AUTHORITY = TokenAuthority(SECRET)
NOW = 1_800_000_000.0
OFFER = create_offer("127.0.0.1", 40000, {0: PCMU})
SDP = {"content-type": "application/sdp"}


def signed(*rights: Right, life: float = 3600.0, now: float | None = None) -> str:
    return AUTHORITY.sign(rights, now=time.time() if now is None else now, life=life)


@given(st.sets(st.sampled_from(Right), min_size=1), st.floats(1, MAX_LIFE))
def test_token_has_the_rights_that_it_was_given_until_its_end(
    rights: set[Right], life: float
) -> None:
    token = AUTHORITY.sign(rights, now=NOW, life=life)
    assert AUTHORITY.rights_of(token, now=NOW) == rights
    assert AUTHORITY.rights_of(token, now=NOW + life - 1.5) == rights
    with pytest.raises(ExpiredTokenError):
        AUTHORITY.rights_of(token, now=NOW + life)
    assert len(token) < 250
    assert Token(token) == token  # what the headers and the command line take


def test_token_of_the_server_is_good_for_everything() -> None:
    assert AUTHORITY.rights_of(SECRET, now=NOW) == ALL


def test_token_of_another_server_is_none() -> None:
    other = TokenAuthority(Token("another-token-of-another-server-01"))
    token = other.sign([Right.PLAY], now=NOW, life=60)
    with pytest.raises(WrongTokenError, match="not the token of this server"):
        AUTHORITY.rights_of(token, now=NOW)


def part(claims: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def forged(header: object, claims: object, key: bytes = b"") -> str:
    text = f"{part(header)}.{part(claims)}"
    mac = hmac.digest(key, text.encode(), "sha256") if key else b""
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


GOOD = {"scope": "administer", "exp": int(NOW) + 60}


@pytest.mark.parametrize(
    "token",
    [
        forged({"alg": "none", "typ": "JWT"}, GOOD),
        forged({"alg": "none"}, GOOD, SECRET.encode()),
        forged({"alg": "HS256"}, GOOD, SECRET.encode()),  # the token itself is not the key
        forged({"alg": "HS512"}, GOOD, AUTHORITY._key),
        forged({"alg": "HS256"}, {"scope": "administer"}, AUTHORITY._key),  # no end
        forged({"alg": "HS256"}, {"exp": int(NOW) + 60}, AUTHORITY._key),  # no scope
        forged({"alg": "HS256"}, {**GOOD, "exp": "soon"}, AUTHORITY._key),
        forged({"alg": "HS256"}, {**GOOD, "scope": ["administer"]}, AUTHORITY._key),
        forged({"alg": "HS256", "crit": ["b64"], "b64": False}, GOOD, AUTHORITY._key),
        part("[" * 2000) + ".x.y",
        "[" * 3000,
        "a.b.c",
        "..",
        "",
        "é" * 40,
        SECRET + "x",
        SECRET[:-1],
        "x" * (MAX_SHOWN + 1),
    ],
)
def test_forged_token_is_refused(token: str) -> None:
    with pytest.raises(WrongTokenError) as caught:
        AUTHORITY.rights_of(token, now=NOW)
    assert not isinstance(caught.value, ExpiredTokenError)
    assert SECRET not in str(caught.value)


def test_what_forgeries_are_made_of_would_do_if_it_were_right() -> None:
    """Else the test above would show nothing."""
    token = forged({"alg": "HS256", "typ": "JWT"}, GOOD, AUTHORITY._key)
    assert AUTHORITY.rights_of(token, now=NOW) == {Right.ADMINISTER}


def test_right_that_is_not_known_gives_none() -> None:
    token = jwt.encode({**GOOD, "scope": "play everything"}, AUTHORITY._key, "HS256")
    assert AUTHORITY.rights_of(token, now=NOW) == {Right.PLAY}


def test_short_token_of_a_server_signs_nothing_and_takes_nothing_that_it_signed() -> None:
    short = TokenAuthority(Token("x" * (MIN_SIGNER - 1)))
    with pytest.raises(SigningError, match=f"fewer than {MIN_SIGNER} characters"):
        short.sign([Right.PLAY], now=NOW, life=60)
    with pytest.raises(WrongTokenError):
        short.rights_of(jwt.encode(GOOD, short._key, "HS256"), now=NOW)
    assert short.rights_of("x" * (MIN_SIGNER - 1), now=NOW) == ALL


@pytest.mark.parametrize("life", [0, -1, 0.5, MAX_LIFE + 1, float("nan"), float("inf")])
def test_life_of_a_token_is_bounded(life: float) -> None:
    with pytest.raises(SigningError, match="can last"):
        AUTHORITY.sign([Right.PLAY], now=NOW, life=life)
    with pytest.raises(SigningError, match="choose of publish, play, administer"):
        AUTHORITY.sign([], now=NOW, life=60)


def test_neither_authority_nor_errors_show_the_token() -> None:
    assert SECRET not in repr(AUTHORITY)
    assert SECRET not in repr(vars(AUTHORITY))
    assert AUTHORITY._key.hex() not in repr(AUTHORITY)


# What is needed for what


@pytest.mark.parametrize(
    ("method", "path", "enough", "too_little"),
    [
        ("POST", "/whip/a", {"publish"}, {"play"}),
        ("POST", "/whep/a", {"play"}, {"publish"}),
        ("OPTIONS", "/whep/a", {"play"}, {"publish"}),
        ("POST", "/rooms/a", {"publish", "play"}, {"play"}),
        ("POST", "/rooms/a", {"publish", "play"}, {"publish"}),
        ("GET", "/rooms", {"play"}, set()),
        ("GET", "/rooms/a/events", {"publish"}, set()),
        ("POST", "/rooms/a/parties/b/video", {"play"}, {"publish"}),
        ("GET", "/sessions/echo.sdp", {"play"}, {"publish"}),
        ("DELETE", "/sessions/secret", {"publish"}, set()),
        ("PATCH", "/sessions/secret", {"play"}, set()),
        ("GET", "/graph", {"administer"}, {"publish", "play"}),
        ("PUT", "/composition", {"administer"}, {"publish", "play"}),
        ("POST", "/links", {"administer"}, {"publish", "play"}),
        ("DELETE", "/rules", {"administer"}, {"publish", "play"}),
        ("POST", "/flows/clients", {"administer"}, {"publish", "play"}),
        ("GET", "/statistics", {"administer"}, {"publish", "play"}),
        ("GET", "/nowhere", {"administer"}, {"publish", "play"}),
        ("DELETE", "/whip/a", {"administer"}, {"publish", "play"}),
        ("POST", "/whip/a/b", {"administer"}, {"publish", "play"}),
        ("POST", "/whip/", {"administer"}, {"publish", "play"}),
    ],
)
def test_each_request_needs_its_rights(
    method: str, path: str, enough: set[str], too_little: set[str]
) -> None:
    assert is_allowed(frozenset(map(Right, enough)), method, path)
    assert not is_allowed(frozenset(map(Right, too_little)), method, path)
    assert is_allowed(ALL, method, path)


async def test_every_route_that_is_open_to_others_than_operators_is_meant_to_be() -> None:
    """A new route is theirs alone until somebody adds it to the table, and to this list."""
    config = Config(http=HttpConfig(port=0))
    async with (
        RtpNetwork() as network,
        Graph() as graph,
        open_calls(graph, network, config) as calls,
    ):
        statistics = Statistics(calls.sessions, network)
        routes = application(graph, {}, LiveGraph(graph), calls, statistics=statistics).routes
    opened = set()
    closed = (frozenset({Right.ADMINISTER}),)
    for route in routes:
        assert isinstance(route, Route)
        path = route.path.replace("{", "").replace("}", "")
        for method in set(route.methods or ()) - {"OPTIONS", "HEAD"}:
            if needed(method, path) != closed:
                opened.add(f"{method} {route.path}")
    assert opened == {
        "GET /rooms",
        "GET /rooms/{room}",
        "GET /rooms/{room}/events",
        "GET /rooms/{room}/parties/{party}",
        "GET /sessions/{name}.sdp",
        "POST /rooms/{room}",
        "POST /rooms/{room}/parties/{party}/video",
        "POST /whep/{stream}",
        "POST /whip/{stream}",
        "PATCH /sessions/{secret}",
        "DELETE /sessions/{secret}",
    }


# Over HTTP


@asynccontextmanager
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    config = Config(http=HttpConfig(port=0, token=SECRET))
    async with (
        RtpNetwork() as network,
        Graph() as graph,
        open_calls(graph, network, config) as calls,
        running(partial(serve_http, graph, config.http, calls=calls, network=network)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_guest_with_a_signed_token_comes_into_a_room_and_no_further() -> None:
    async with guarded() as client:
        guest = bearer(signed(Right.PUBLISH, Right.PLAY))
        begun = await client.post("/rooms/a?name=x", content=OFFER, headers={**SDP, **guest})
        assert begun.status_code == 201, begun.text
        assert (await client.get("/rooms/a", headers=guest)).status_code == 200
        refused = await client.get("/graph", headers=guest)
        assert_problem(refused, 403, "that token is good for play publish")
        challenge = refused.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="administer"' in challenge
        ended = await client.delete(begun.headers["location"], headers=guest)
        assert ended.status_code == 200


async def test_who_may_only_play_neither_publishes_nor_speaks() -> None:
    async with guarded() as client:
        headers = {**SDP, **bearer(signed(Right.PLAY))}
        for path in ("/whip/a", "/rooms/a?name=x"):
            assert_problem(await client.post(path, content=OFFER, headers=headers), 403, "publish")
        watched = await client.post("/whep/a", content=OFFER, headers=headers)
        assert watched.status_code not in {401, 403}  # nobody publishes it


async def test_expired_token_is_refused_and_said_to_be() -> None:
    async with guarded() as client:
        old = signed(Right.ADMINISTER, life=60, now=time.time() - 100)
        response = await client.get("/graph", headers=bearer(old))
        assert_problem(response, 401, "expired")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_no_token_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, old = signed(Right.PLAY), signed(Right.PLAY, life=60, now=time.time() - 100)
    async with guarded() as client:
        for token in (SECRET, good, old, good + "x", "x" * 5000):
            await client.get("/graph", headers=bearer(token))
            await client.post("/whip/a", content=b"junk", headers={**SDP, **bearer(token)})
    # What the client's own libraries say of the headers that they send is not of the server.
    logged = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("rtp")
    )
    for token in (SECRET, good, old):
        assert token not in logged
        assert token.rpartition(".")[2] not in logged


# The command


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**given, **environment},
    )


def test_command_prints_a_token_that_the_server_takes_and_logs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    settings = ANY_PORTS + '[log]\nlevel = "debug"\n'
    with serving(tmp_path, settings) as server:
        arguments = ("token", "--scope", "publish", "--scope", "play", "--expires", "1h")
        done = command(*arguments, **{VARIABLE: SECRET})
        assert done.returncode == 0, done.stderr
        token = done.stdout.strip()
        headers = {**SDP, **bearer(token)}
        with httpx.Client(base_url=server.url, trust_env=False, headers=headers) as client:
            begun = client.post("/rooms/a?name=x", content=OFFER)
            assert begun.status_code == 201, begun.text
            assert client.get("/graph").status_code == 403
            assert client.get("/graph", headers=bearer("wrong" * 10)).status_code == 401
        # The command line of who may not: one line that says so.
        looked = command("graph", "--url", server.url, **{VARIABLE: token})
        assert looked.returncode == 1
        assert "that token is good for play publish" in looked.stderr
        status, errors = server.end()
    assert status == 0
    said = errors + "\n".join(server.lines)
    for secret in (SECRET, token, token.rpartition(".")[2]):
        assert secret not in said


def test_command_reads_the_token_from_the_settings_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(f'[http]\ntoken = "{SECRET}"\n')
    arguments = ("token", "--scope", "administer", "--config", str(tmp_path / "server.toml"))
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert AUTHORITY.rights_of(done.stdout.strip(), now=time.time()) == {Right.ADMINISTER}


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "message"),
    [
        (["--scope", "play"], {}, 1, "no token to sign with"),
        (["--scope", "play"], {VARIABLE: "x" * 20}, 1, "fewer than 32 characters"),
        (["--scope", "play", "--expires", "1w"], {VARIABLE: SECRET}, 1, "--expires"),
        (["--scope", "play", "--expires", "0s"], {VARIABLE: SECRET}, 1, "can last"),
        (["--scope", "play", "--expires", "999d"], {VARIABLE: SECRET}, 1, "can last"),
        (["--scope", "all"], {VARIABLE: SECRET}, 2, "scope"),
        ([], {VARIABLE: SECRET}, 2, "scope"),
    ],
)
def test_command_that_cannot_sign_says_what_to_do_in_one_line(
    arguments: list[str], environment: dict[str, str], status: int, message: str
) -> None:
    done = command("token", *arguments, **environment)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
