"""HTTPS from certificate files: spoken, checked, renewed while it runs; what is wrong is told."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from eventgraph import Graph
from rtp.server import connection, tls
from rtp.server.config import HttpConfig
from rtp.server.errors import StartError
from rtp.server.http import listen
from rtp.server.tls import CertificateFiles, open_tls
from tests.server.serving import ANY_PORTS, CALL, serving
from tests.server.test_http import EXIT_LIMIT
from tests.server.test_http import serving as serving_here

TEXT = '[http]\ncertificate = "server.pem"\nkey = "key.pem"'


class Files:
    """A certificate for this machine, and its key, in files."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = directory / "server.pem", directory / "key.pem"
        self.authority = directory / "ca.pem"
        self.renew()

    def renew(self) -> None:
        """Another authority, another certificate, another key."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)

    @property
    def config(self) -> HttpConfig:
        return HttpConfig(port=0, certificate=str(self.certificate), key=str(self.key))

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def client_of(files: Files) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Graph() as graph,
        serving_here(graph, files.config) as url,
        httpx.AsyncClient(base_url=url, verify=files.client_context(), trust_env=False) as client,
    ):
        yield client


async def test_https_is_spoken_and_nothing_else(files: Files) -> None:
    async with client_of(files) as client:
        assert client.base_url.scheme == "https"
        for _ in range(2):
            assert (await client.get("/healthz")).text == "ok\n"
        plain = str(client.base_url).replace("https:", "http:")
        async with httpx.AsyncClient(trust_env=False) as other:
            with pytest.raises(httpx.HTTPError):
                await other.get(f"{plain}/healthz")
        async with httpx.AsyncClient(trust_env=False) as other:
            with pytest.raises(httpx.ConnectError):
                await other.get(f"{client.base_url}/healthz")


async def test_old_versions_of_tls_are_refused(files: Files) -> None:
    context = files.client_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with client_of(files) as client:
        address = client.base_url

        def shake_hands() -> None:
            with socket.create_connection((address.host, address.port or 0)) as plain:
                context.wrap_socket(plain, server_hostname="localhost")

        with pytest.raises((ssl.SSLError, ConnectionError)):
            await trio.to_thread.run_sync(shake_hands)
        assert (await client.get("/healthz")).status_code == 200


async def test_http2_is_not_agreed_on(files: Files) -> None:
    context = files.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with client_of(files) as client:
        address = client.base_url
        stream = await trio.open_ssl_over_tcp_stream(
            address.host, address.port or 0, ssl_context=context, https_compatible=True
        )
        async with stream:
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "http/1.1"


async def test_client_that_does_not_shake_hands_is_cut_off(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_LIMIT", 0.2)
    async with client_of(files) as client:
        address = client.base_url
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            stream = await trio.open_tcp_stream(address.host, address.port or 0)
            async with stream:
                if said:
                    await stream.send_all(said)
                with trio.fail_after(EXIT_LIMIT):
                    while await stream.receive_some():
                        pass
        statistics = (await client.get("/statistics")).json()
    assert statistics["connections"]["cut"]["handshake"] == 3


async def test_certificate_that_was_renewed_is_shown_to_the_next_client(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "CHECK_INTERVAL", 0.01)
    async with client_of(files) as before:
        assert (await before.get("/healthz")).status_code == 200
        files.key.write_text("half of it is writt")
        with trio.fail_after(EXIT_LIMIT):
            while "the certificate stays as it was" not in caplog.text:  # noqa: ASYNC110
                await trio.sleep(0.01)
        files.renew()
        context = files.client_context()
        with trio.fail_after(EXIT_LIMIT):
            while True:
                async with httpx.AsyncClient(verify=context, trust_env=False) as after:
                    try:
                        assert (await after.get(f"{before.base_url}/healthz")).status_code == 200
                        break
                    except httpx.ConnectError:
                        await trio.sleep(0.01)
        assert (await before.get("/healthz")).status_code == 200  # on its old connection
    assert caplog.text.count("stays as it was") < 10


def test_files_that_have_not_changed_are_not_read_again(files: Files) -> None:
    found = CertificateFiles(files.certificate, files.key)
    before = found.context()
    found.refresh()
    assert found.context() is before
    files.renew()
    found.refresh()
    assert found.context() is not before


# What is wrong


def test_one_file_without_the_other_is_an_error(files: Files) -> None:
    for config in (
        HttpConfig(certificate=str(files.certificate)),
        HttpConfig(key=str(files.key)),
    ):
        with pytest.raises(StartError, match="go together: set both"):
            open_tls(config)
    assert open_tls(HttpConfig()) is None


def spoil_missing(files: Files) -> None:
    files.key.unlink()


def spoil_empty(files: Files) -> None:
    files.certificate.write_bytes(b"")


def spoil_other_key(files: Files) -> None:
    certificate = files.certificate.read_bytes()
    files.renew()
    files.certificate.write_bytes(certificate)


def spoil_password(files: Files) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


@pytest.mark.parametrize(
    "spoil", [spoil_missing, spoil_empty, spoil_other_key, spoil_password], ids=lambda s: s.__name__
)
def test_files_that_cannot_be_used_are_named_in_one_line(
    files: Files, spoil: Callable[[Files], None]
) -> None:
    spoil(files)
    with pytest.raises(StartError) as caught:
        listen(files.config)
    message = str(caught.value)
    assert "http.certificate" in message
    assert "\n" not in message


# As people start it


def test_server_and_command_line_speak_https(files: Files, tmp_path: Path) -> None:
    settings = ANY_PORTS.replace("[http]", TEXT)
    with serving(tmp_path, settings) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert "https,tls" in server.commands("ffplay")[0]
        trusting = {**os.environ, "SSL_CERT_FILE": str(files.authority)}
        command = [sys.executable, "-c", CALL, "graph", "--url", server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=trusting)
        assert done.returncode == 0, done.stderr
        assert "RtpSource" in done.stdout
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "SSL_CERT_FILE" in done.stderr
        assert done.stderr.count("\n") == 1
        assert server.end() == (0, "")


def test_flags_name_the_files_too(files: Files, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALL, "serve", "--certificate", str(files.certificate)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "http.certificate and http.key go together" in done.stderr
