"""Settings of the CCTV program."""

from pathlib import Path

import pytest

from tests.cctv_support.parts import config
from tests.cctv_support.program import EXAMPLES

SECRET = "rtsp://admin:hunter2@10.0.0.7:8554/main?key=hunter2"


def load(directory: Path, text: str) -> object:
    path = directory / "cctv.toml"
    path.write_text(text)
    return config.load_config(path)


def one(url: str = SECRET, name: str = "main", more: str = "") -> str:
    return f'[[cameras]]\nname = "gate"\nstreams = [{{name = "{name}", url = "{url}"}}{more}]\n'


def test_example_is_complete() -> None:
    loaded = config.load_config(EXAMPLES / "cctv" / "cctv.toml")
    assert [camera.name for camera in loaded.cameras] == ["gate", "yard"]
    assert [stream.record for stream in loaded.cameras[0].streams] == [True, False]
    assert not loaded.cameras[0].streams[1].audio


def test_url_shows_neither_name_nor_password(tmp_path: Path) -> None:
    loaded = load(tmp_path, one())
    url = loaded.cameras[0].streams[0].url  # type: ignore[attr-defined]
    assert url.shown == "rtsp://10.0.0.7:8554/main"
    assert "hunter2" not in repr(loaded)
    assert (url.host, url.port) == ("10.0.0.7", 8554)
    assert url.through(1234) == "rtsp://admin:hunter2@127.0.0.1:1234/main?key=hunter2"
    assert config.RtspUrl("rtsp://[::1]/x").port == 554


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cameras"),
        ("cameras = []", "length"),
        (one(name="a/b"), "regex"),
        (one(name=".."), "regex"),
        (one(url="http://admin:hunter2@x/"), "expected an URL such as"),
        (one(url="rtsp://admin:hunter2@x:99999/"), "expected an URL such as"),
        (one(url="rtsp:///main"), "expected an URL such as"),
        (one(more=f', {{name = "main", url = "{SECRET}"}}'), "twice"),
        (one() + one(), "twice"),
        (one() + "[rtsp]\nread_timeout = 0", "read_timeout"),
        (one() + "[disk]\nkeep = 0", "keep"),
        (one() + "[disk]\nfolder = 'x'", "folder"),
        ("=", "no valid TOML"),
    ],
)
def test_unusable_settings_are_told_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert "hunter2" not in message


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"nowhere\.toml"):
        config.load_config(tmp_path / "nowhere.toml")
