"""Configuration: everything has a default, and each mistake is named on one line."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtp.server.config import Config, Host, LogLevel
from rtp.server.config_file import ConfigError, all_keys, describe, load_config

MISTAKES = [
    ("[http]\nprot = 1", "http.prot: there is no such key; the nearest is http.port"),
    ("port = 1", "port: there is no such key; the nearest is http.port"),
    ("[http.tls]\nx = 1", "http.tls: there is no such key; the nearest is"),
    ("[demo.echo]\nPort = 1", "demo.echo.Port: there is no such key; the nearest is demo.echo"),
    ('"" = 1', '"": there is no such key; the nearest is'),
    ("[http]\nport = 70000", "http.port: expected a whole number 0..65535, got 70000"),
    ("[http]\nport = -1", "http.port: expected a whole number 0..65535, got -1"),
    ('[http]\nport = "80"', 'http.port: expected a whole number 0..65535, got "80"'),
    ("[http]\nport = true", "http.port: expected a whole number 0..65535, got true"),
    ("http = 3", "http: expected a table with the keys host, port, token"),
    ('[rtp]\nhost = "localhost"', "rtp.host: expected a numeric IP address such as 127.0.0.1"),
    ("[rtp]\nhost = 3", "rtp.host: expected a numeric IP address"),
    ("[demo]\nenabled = 1", "demo.enabled: expected true or false, got 1"),
    ("[demo.echo]\nport = 5005", "demo.echo.port: expected an even whole number 0..65534"),
    ("[demo.tone]\nfrequency = nan", "demo.tone.frequency: expected a number 20..3900, got nan"),
    ("[demo.tone]\nfrequency = inf", "demo.tone.frequency: expected a number 20..3900, got inf"),
    ('[log]\nlevel = "loud"', 'log.level: expected one of "debug", "info", "warning", "error"'),
    ('[recordings]\ndirectory = ""', "recordings.directory: expected a text that is not empty"),
    ("[graph]\nexit_timeout = []", "graph.exit_timeout: expected a number 0..60, got []"),
    ('[http]\ntoken = "abc"', "http.token: expected 16 to 256 characters"),
    ('[http]\nallowed_origins = "x"', "http.allowed_origins: expected a list of which each is"),
    ('[http]\nallowed_origins = ["x"]', "http.allowed_origins: expected a list of which each is"),
    ("[http]\nallowed_hosts = [1]", "http.allowed_hosts: expected a list of which each is"),
    ('[flows]\nclients = "mixer"', "flows.clients: expected a table in which each key has a list"),
    ('[flows.clients]\nmixer = "run"', "flows.clients: expected a table in which each key has a"),
    ("[flows.clients]\nmixer = []", "flows.clients: expected a table in which each key has a list"),
    ('[flows.clients]\nmixer = ["run", ""]', "flows.clients: expected a table in which each key"),
    ("[flows]\nregistry = 1", "flows.registry: expected a text, got 1"),
    ("[flows]\nclient = 1", "flows.client: there is no such key; the nearest is flows.clients"),
    ("[http\nport = 1", "is no valid TOML"),
]


def write(directory: Path, text: str) -> Path:
    path = directory / "server.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_empty_file_means_all_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == Config()


def test_file_changes_only_what_it_mentions(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, '[http]\nhost = "::1"\n[log]\nlevel = "debug"\n[demo.tone]\nlevel = -10')
    )
    assert (config.http.host, config.http.port) == (Host("::1"), 8080)
    assert config.log.level is LogLevel.DEBUG
    assert config.demo.tone.level == -10.0
    assert config.demo.echo == Config().demo.echo


def test_server_is_bound_to_loopback_by_default() -> None:
    config = Config()
    assert {config.http.host, config.rtp.host, config.demo.listener_host} == {"127.0.0.1"}


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistake_is_named_with_file_key_and_what_was_expected(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {expected}")
    assert message.isprintable()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"server\.toml: is not UTF-8"):
        load_config(path)


@given(key=st.text(), value=st.text())
@example(key="\x1f.", value="x` - at `$.q`")
@example(key="x - at `$.q", value="\n")
def test_no_key_or_value_breaks_the_one_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    def quoted(text: str) -> str:
        return (
            '"' + "".join(f"\\U{ord(c):08x}" for c in text if not 0xD800 <= ord(c) < 0xE000) + '"'
        )

    directory = tmp_path_factory.getbasetemp()
    for text in (
        f"{quoted(key)} = 1",
        f"[http]\nport = {quoted(value)}",
        f"[log]\n{quoted(key)}=1",
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(write(directory, text))
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["127.0.0.1", "0.0.0.0", "::", "fe80::1"])
def test_numeric_addresses_are_hosts(text: str) -> None:
    assert Host(text) == text


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:80", "[::1]", "300.0.0.1"])
def test_anything_else_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="expected a numeric IP address"):
        Host(text)


def test_every_key_is_on_the_reference_page_with_what_it_takes() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
    text = page.read_text(encoding="utf-8")
    for key, kind in all_keys().items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), None)
        assert row is not None, f"{key} is missing in {page.name}"
        assert describe(kind).removesuffix(", in quotes") in row, key
