"""The nodes of the media server in texts: sound, files, and endpoints that are shared."""

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from eventgraph import Address, Graph
from eventgraph.language import (
    Composition,
    CompositionError,
    LanguageError,
    LinkFormatError,
    NodeTypeError,
    compose,
    parse,
)
from eventgraph.language.description import describe_text
from eventgraph.language.format import format_value
from eventgraph.language.grammar import GRAMMAR
from eventgraph.language.plan import make_plan
from rtp import PCMU, RtpNetwork, nodes
from rtp.endpoint_leases import EndpointLeases
from rtp.media_context import MediaContext
from rtp.node_types import media_registry

REGISTRY = media_registry()


class Server:
    """A graph with a network, and what texts get of it."""

    def __init__(self, graph: Graph, network: RtpNetwork, directory: Path) -> None:
        self.graph = graph
        self.network = network
        self.endpoints = EndpointLeases(network, may_send_to=lambda host: host == "127.0.0.1")
        self.context = MediaContext(self.endpoints, directory=directory / "files")

    async def compose(self, text: str) -> Composition:
        return await compose(self.graph, text, registry=REGISTRY, context=self.context)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Server]:
    async with RtpNetwork() as network, Graph() as graph:
        yield Server(graph, network, directory)


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def links(text: str) -> set[str]:
    """Of a text's plan, without scopes."""
    plan = make_plan(describe_text(parse(text), "main"), REGISTRY, lambda _: None)
    return {f"{a.name} -> {b.name}" for a, b in plan.links}


def test_every_node_of_the_package_has_a_type() -> None:
    types = {node_type.node_class.__name__ for node_type in REGISTRY}
    assert types == {name for name in nodes.__all__ if name != "RecorderStatistics"}


def test_example_of_the_reference_records_what_is_called() -> None:
    text = """
        [caller:rtp_source] -> [fan:pubsub] -> {[file:wav_recorder path='c.wav'], [back:rtp_sink]};
        [fan] -> [meter@lobby:level_meter window=0.5]
    """
    assert links(text) == {
        "caller -> fan",
        "fan -> fan>file:audio_decoder",
        "fan>file:audio_decoder -> file",
        "fan -> back",
        "fan -> fan@main>meter:audio_decoder",
        "fan@main>meter:audio_decoder -> meter",
    }


@pytest.mark.parametrize(
    ("text", "between"),
    [
        ("[a:tone_source] -> [b:rtp_sink]", "audio_encoder"),
        ("[a:rtp_source] -> [b:level_meter]", "audio_decoder"),
        ("[a:dtmf_sender] -> [b:silence_detector]", "audio_decoder"),
        ("[a:audio_mixer] -> [b:rtp_sink]", "audio_encoder"),
    ],
)
def test_converter_of_any_codec_is_put_between(text: str, between: str) -> None:
    assert links(text) == {f"a -> a>b:{between}", f"a>b:{between} -> b"}


def test_nodes_that_have_nothing_to_say_to_each_other_are_refused() -> None:
    for text in (
        "[a:tone_source] -> [b:audio_mixer]",
        "[a:dtmf_receiver] -> [b:rtp_sink]",
        "[a:video_encoder] -> [b:rtp_sink]",
    ):
        with pytest.raises(LinkFormatError):
            links(text)


async def test_sound_goes_from_text_to_text_over_the_network(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        hearing = server.network.open({0: PCMU})
        server.endpoints.lend("hearing", hearing)
        await server.compose(
            "[in@hearing:rtp_source] -> [fan@hearing:pubsub] -> "
            "{[file@hearing:wav_recorder path=heard.wav], [meter@hearing:level_meter]}"
        )
        await server.compose(
            f"[tone:tone_source] -> [out:rtp_sink listener='127.0.0.1:{hearing.address[1]}']"
        )
        meter = server.graph.node_at(Address("hearing", "meter"))
        assert isinstance(meter, nodes.LevelMeter)
        # An encoder and a decoder run in threads, so this takes real time: 0.4 s.
        with trio.fail_after(30):
            while meter.frames < 20:  # noqa: ASYNC110  # the meter tells nobody
                await trio.sleep(0.02)
        assert meter.rms == pytest.approx(-18 - 3.01, abs=0.5)
    with wave.open(str(tmp_path / "files" / "heard.wav")) as file:
        assert file.getnframes() >= 2400


async def test_endpoint_is_open_as_long_as_a_node_uses_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        composition = await server.compose("[in:rtp_source] -> [fan:pubsub] -> [out:rtp_sink]")
        (endpoint,) = server.network.endpoints
        assert server.endpoints.statistics() == {"main": 2}
        await composition.apply("[in:rtp_source max_links=3] -> [fan:pubsub]")
        assert server.network.endpoints == (endpoint,)
        assert server.endpoints.statistics() == {"main": 1}
        await composition.apply("[in:rtp_source endpoint=other] -> [fan:pubsub]")
        assert server.endpoints.statistics() == {"other": 1}
        assert endpoint.closed
        await composition.dissolve()
        assert len(server.network.endpoints) == 0


async def test_endpoint_that_is_lent_stays_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        endpoint = server.network.open({0: PCMU})
        server.endpoints.lend("main", endpoint)
        composition = await server.compose("[in:rtp_source] -> [out:rtp_sink]")
        assert server.network.endpoints == (endpoint,)
        await composition.dissolve()
        assert not endpoint.closed
        assert server.endpoints.statistics() == {"main": 0}


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("[a:rtp_source]; [b:rtp_sink port=4000]", NodeTypeError, "open already"),
        ("[a:rtp_source port=4001]", NodeTypeError, "multiple of 2"),
        ("[a:rtp_source]; [b:rtp_source]", CompositionError, "has a receiver"),
        ("[a:rtp_sink listener=nowhere]", NodeTypeError, "give HOST:PORT"),
        ("[a:rtp_sink listener='x:99999']", NodeTypeError, "give HOST:PORT"),
        ("[a:rtp_sink listener='192.0.2.1:5004']", NodeTypeError, "rtp.any_target"),
        ("[a:rtp_source host=localhost]", NodeTypeError, "numeric"),
        ("[a:rtp_source]; [w:wav_recorder path='../x.wav']", NodeTypeError, "give one below"),
        ("[a:rtp_source]; [w:wav_recorder path='/etc/passwd']", NodeTypeError, "give one below"),
        ("[a:player path='.']", NodeTypeError, "give one below"),
        ("[a:rtp_source]; [p:player path='there-is-none.wav']", CompositionError, "none.wav"),
        ("[a:audio_encoder encoding=MP3]", NodeTypeError, "choose PCMU, PCMA, G722, opus"),
    ],
)
async def test_text_that_cannot_be_had_leaves_no_socket_and_no_file(
    text: str, error: type[LanguageError], part: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as server:
        with pytest.raises(error, match=part):
            await server.compose(text)
        assert server.graph.snapshot().nodes == []
        assert server.network.endpoints == ()
        assert server.endpoints.statistics() == {}
    assert files_in(tmp_path) == []


async def test_link_out_of_the_directory_does_not_lead_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "out").symlink_to(tmp_path)
        with pytest.raises(NodeTypeError, match="give one below"):
            await server.compose("[w:wav_recorder path='out/x.wav']")


async def test_port_in_use_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        taken = server.network.open({0: PCMU})
        with pytest.raises(NodeTypeError, match="in use"):
            await server.compose(f"[a:rtp_source port={taken.address[1]}]")


async def test_endpoints_need_a_context() -> None:
    async with Graph() as graph:
        with pytest.raises(NodeTypeError, match="MediaContext"):
            await compose(graph, "[a:rtp_source]", registry=REGISTRY)


@pytest.mark.parametrize(
    "text",
    [
        "[a:audio_decoder sample_rate=16000]; [b:audio_encoder encoding=opus]; [c:g711_decoder]",
        "[a:video_decoder]; [b:video_encoder encoding=H264 bit_rate=500000]; [c:g711_encoder]",
        "[a:mixer_input party=Ann] -> [m:audio_mixer]; [d:dtmf_receiver]; [e:echo delay=20ms]",
        "[a:silence_detector hang_over=1s]; [p:playout]; [f:forwarder]; [r:recorder path=x.ogg]",
    ],
)
async def test_every_type_is_made_with_its_properties(text: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        composition = await server.compose(text)
        assert not composition.difference(composition.describe())
        await composition.dissolve()


def property_text(field: msgspec.structs.FieldInfo) -> str:
    """As the reference page has it: with its default, in bold if it must be given."""
    if field.required:
        return f"**{field.name}**"
    return field.name if field.default is None else f"{field.name}={format_value(field.default)}"


def types_table() -> list[str]:
    """That of the reference page."""
    rows = ["| type | properties | accepts | offers |", "|---|---|---|---|"]
    for node_type in REGISTRY:
        properties = ", ".join(map(property_text, msgspec.structs.fields(node_type.options)))
        can = node_type.capabilities
        accepts = "anything" if can.accepts is None else ", ".join(can.accepts)
        offers = "what comes in" if can.passes_on else ", ".join(can.offers or ())
        rows.append(f"| `{node_type.name}` | {properties} | {accepts} | {offers} |")
    rows += ["", "| converter | from | to | cost |", "|---|---|---|---|"]
    for step in REGISTRY.converters:
        rows.append(f"| `{step.name}` | {step.source} | {step.target} | {step.cost:g} |")
    return rows


def test_reference_page_has_every_type() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "node-language.md"
    assert "\n".join(types_table()) in page.read_text()


def test_reference_page_has_the_grammar() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "node-language.md"
    rules = [line.strip() for line in GRAMMAR.splitlines() if line.strip()[:1] not in {"", "%"}]
    assert "\n".join(rules) in page.read_text()
