"""GET /metrics over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import trio
import trio.testing

from eventgraph import Graph
from eventgraph.testing import Probe, wait_idle
from rtp.network import RtpNetwork
from rtp.server.config import HttpConfig, MetricsConfig, Token
from rtp.server.http import serve_http
from rtp.server.metrics import KEPT, open_metrics
from tests.metrics.scraping import parse
from tests.server.test_http import ANY_PORT, assert_problem, running

SECRET = "0123456789abcdef"
SHOWN = MetricsConfig()
GUARDED = HttpConfig(port=0, token=Token(SECRET))


@asynccontextmanager
async def edge(
    http: HttpConfig = ANY_PORT, config: MetricsConfig = SHOWN
) -> AsyncIterator[tuple[Graph, httpx.AsyncClient]]:
    async with (
        RtpNetwork() as network,
        Graph() as graph,
        open_metrics(graph, network, config) as metrics,
        running(partial(serve_http, graph, http, metrics=metrics)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield graph, client


async def test_text_is_in_the_form_that_is_asked_for() -> None:
    async with edge() as (_graph, client):
        plain = await client.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        opened = await client.get("/metrics", headers=accept)
        assert opened.headers["content-type"].startswith("application/openmetrics-text")
        assert opened.text.endswith("# EOF\n")
        assert opened.headers["vary"] == "accept"
        assert "GET /metrics" in (await client.get("/")).text


async def test_text_is_made_once_a_second_however_many_ask() -> None:
    async with edge() as (graph, client):
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append((await client.get("/metrics")).content)

        asked = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(answers) == 5
        if trio.current_time() - asked < KEPT:  # else the machine was too busy to tell
            assert len(set(answers)) == 1
        graph.add_node(Probe("s", "n"))
        await wait_idle(graph)
        await trio.sleep(KEPT)
        shown = dict(parse((await client.get("/metrics")).content))
        assert shown["eventgraph_nodes{state=running,type=Probe}"] == 1


async def test_it_wants_the_token_of_the_server() -> None:
    async with edge(GUARDED) as (_graph, client):
        assert_problem(await client.get("/metrics"), 401, "Authorization: Bearer TOKEN")
        allowed = await client.get("/metrics", headers={"authorization": f"Bearer {SECRET}"})
        assert allowed.status_code == 200


async def test_it_can_be_open_to_all_and_nothing_else_is() -> None:
    async with edge(GUARDED, MetricsConfig(public=True)) as (_graph, client):
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.post("/metrics")).status_code == 401
        assert (await client.get("/graph")).status_code == 401


async def test_it_can_be_switched_off() -> None:
    async with edge(config=MetricsConfig(enabled=False)) as (_graph, client):
        assert_problem(await client.get("/metrics"), 404, "there is nothing at '/metrics'")
        assert "metrics" not in (await client.get("/")).text


async def test_no_name_of_a_node_is_shown() -> None:
    async with edge() as (graph, client):
        graph.add_node(Probe("secret-scope", "secret-name"))
        await wait_idle(graph)
        assert "secret" not in (await client.get("/metrics")).text
