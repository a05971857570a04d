"""What people and programs write: graphs, settings, rules, headers, names."""

import tempfile
from pathlib import Path
from typing import Final

from eventgraph.flows.errors import FlowError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.formats import ANYTHING
from eventgraph.language import LanguageError, format_text, parse
from eventgraph.language.description import describe_text
from eventgraph.language.plan import make_plan
from eventgraph.pipes.errors import PipeError
from eventgraph.pipes.url import dial_url, listen_url
from rtp.node_types import media_registry
from rtp.pipes.lines import LineError, line_reader
from rtp.server.access import Right
from rtp.server.authority import TokenAuthority, WrongTokenError
from rtp.server.config import Token
from rtp.server.config_file import ConfigError, load_config
from rtp.server.errors import StartError
from rtp.server.graph_view import negotiate
from rtp.server.rules_file import RulesFile

from .edge import Edge

GRAPH: Final = """\
# A tone, to whoever listens.
[tone@tone:tone_source frequency=440 level=-18.5] -> [fan@tone:pubsub];
[fan@tone] -> {[meter@tone:level_meter], [encoder@tone:g711_encoder]};
[encoder@tone] -<audio/rtp>-> [sink@tone:rtp_sink endpoint="\\u00e4 b"]; # here it goes
['a b'@"c d"] -> [x:pubsub max_links=3]
"""
SETTINGS: Final = """\
[http]
host = "::1"
port = 9000
token = "0123456789-abcdef"
allowed_hosts = ["a.example"]
allowed_origins = ["https://friend.example"]
max_body = 2048
[rtp]
silence_limit = 1.5
[log]
level = "debug"
[flows]
application = "studio"
[flows.clients]
tone = ["eventgraph", "flows"]
"""
RULES: Final = b'[{"stream": "news", "feeds": ["studio/a", "studio/b"]}]'
SCHEMES: Final = frozenset({"tcp", "tls+tcp", "ws", "ipc", "inproc"})

_REGISTRY: Final = media_registry()
_AUTHORITY: Final = TokenAuthority(Token("x" * 32))
_DIRECTORY: Final = tempfile.TemporaryDirectory(prefix="fuzz-")  # gone with this process


def read_graph(data: bytes) -> None:
    """As ``eventgraph check`` and PUT /composition do, and `fmt`: what it wrote, it can read."""
    tree = parse(data.decode(errors="replace"))
    written = format_text(tree)
    assert format_text(parse(written)) == written
    description = describe_text(tree, "main")
    ours = {address for address, wish in description.nodes.items() if wish.type is not None}
    make_plan(description, _REGISTRY, lambda address: None if address in ours else ANYTHING)


def read_settings(data: bytes) -> None:
    load_config(_file("server.toml", data))


def read_rules(data: bytes) -> None:
    RulesFile(_file("rules.json", data)).load()


def read_accept(data: bytes) -> None:
    negotiate(data.decode("latin-1"))


def read_line(data: bytes) -> None:
    line_reader("json")(data)


def read_names(data: bytes) -> None:
    """All of them, whatever the first says."""
    text = data.decode(errors="replace")
    refused = 0
    for read in (FlowFormat.parse, FlowKey.parse, FlowPattern.parse):
        try:
            assert read(str(read(text))) == read(text)
        except FlowError:
            refused += 1
    for read_url in (listen_url, dial_url):
        try:
            read_url(text, SCHEMES)
        except PipeError:
            refused += 1
    assert refused


def _file(name: str, data: bytes) -> Path:
    path = Path(_DIRECTORY.name) / name
    path.write_bytes(data)
    return path


def read_token(data: bytes) -> None:
    assert _AUTHORITY.rights_of(data.decode("latin-1"), now=0.0)


TEXT_EDGES: Final = (
    Edge(
        "graph",
        (GRAPH.encode(), b"[a:pubsub]->{[b:pubsub],[c:pubsub]}"),
        read_graph,
        (LanguageError,),
        memory=6000,
    ),
    Edge("settings", (SETTINGS.encode(),), read_settings, (ConfigError,), memory=600),
    Edge("rules", (RULES,), read_rules, (StartError,), memory=400),
    Edge("accept", (b"text/html;q=0.3, application/json;q=1, */*",), read_accept, memory=400),
    Edge(
        "line",
        (b'{"cmd": 1, "obj": [1, {"a": null}]}', b'{"cmd": 2, "base64": "AAAA"}'),
        read_line,
        (LineError,),
        memory=400,
    ),
    Edge(
        "names",
        (
            b"AUDIO,rate=48000,sample=s16",
            b"group/name",
            b"*/name",
            b"tcp://127.0.0.1:5555",
            b"ipc:///tmp/x",
            b"ws://[::1]:80/a",
        ),
        read_names,
        memory=600,
    ),
    Edge(
        "token",
        (_AUTHORITY.sign([Right.PLAY], now=1.0, life=60).encode(), b"x" * 32),
        read_token,
        (WrongTokenError,),
    ),
)
