"""Users and certificates of a real etcd, and of one that was set up wrongly."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trustme

from eventgraph.pipes.errors import PipeOptionError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.opening import open_etcd
from eventgraph.pipes.transport import Tls
from tests.pipes.etcd_server import EtcdServer, ServerTls, running_etcd
from tests.pipes.watching import Changes, watching

pytestmark = pytest.mark.interop("etcd-server")

USER, PASSWORD, ESCAPED = "pipes", "a:b@c/ü", "a%3Ab%40c%2F%C3%BC"
TLS_HOST = "127.83.11.7"  # no name of it is in certificates of other hosts


def nothing() -> None:
    """An ``on_lost`` of leases that are not lost."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdServer]:
    """An etcd where the user may do anything below /mine/."""
    with running_etcd() as server:
        server.enable_authentication(USER, PASSWORD, "/mine/")
        yield server


async def test_user_with_password_may_do_what_the_role_grants(guarded: EtcdServer) -> None:
    url = guarded.url_of(USER, ESCAPED)
    async with open_etcd(url) as registry, watching(registry, "/mine/") as (view, changes):
        assert registry.url == url.replace(f":{ESCAPED}", "")
        lease = await registry.grant(20, nothing)
        assert await lease.create("/mine/1", b"one")
        await changes.until(lambda: view.entries == {"/mine/1": b"one"})
        await lease.delete("/mine/1")
        await changes.until(lambda: not view.entries)
        await lease.revoke()


async def test_without_permission_the_error_says_what_to_grant(guarded: EtcdServer) -> None:
    async with open_etcd(guarded.url_of(USER, ESCAPED)) as registry:
        with pytest.raises(RegistryError, match=r"read the keys below '/other/'.*grant"):
            await registry.read("/other/")
        with pytest.raises(RegistryError, match="grant"):
            async with registry.watch("/other/", nothing):
                raise AssertionError("entered")
        lease = await registry.grant(20, nothing)
        with pytest.raises(RegistryError, match=r"put '/other/1'.*grant"):
            await lease.put("/other/1", b"")
        assert not lease.lost


async def test_wrong_password_is_refused_at_once_and_never_shown(guarded: EtcdServer) -> None:
    async with open_etcd(guarded.url_of(USER, "wr0ng")) as registry:
        with pytest.raises(RegistryError, match="user or password") as caught:
            await registry.read("/mine/")
        assert not isinstance(caught.value, RegistryUnavailableError)
        assert "wr0ng" not in str(caught.value)
        assert "wr0ng" not in registry.url
        with pytest.raises(RegistryError, match="user or password"):
            await registry.grant(20, nothing)


async def test_who_does_not_say_who_it_is_is_told_to(guarded: EtcdServer) -> None:
    async with open_etcd(guarded.url) as registry:
        with pytest.raises(RegistryError, match="put user:password@"):
            await registry.read("/mine/")


async def test_tokens_that_died_with_a_restart_are_asked_for_anew(guarded: EtcdServer) -> None:
    lost = Changes()
    url = guarded.url_of(USER, ESCAPED)
    async with open_etcd(url) as registry, watching(registry, "/mine/") as (view, changes):
        lease = await registry.grant(20, lost)
        await lease.put("/mine/1", b"one")
        await changes.until(lambda: bool(view.entries))
        guarded.kill()
        guarded.start()
        await changes.until(lambda: not view.live)
        async with trio.open_nursery() as nursery:  # of all only one asks for a token
            for number in range(20):
                nursery.start_soon(lease.put, f"/mine/{number}", b"again")
        await changes.until(lambda: view.live and len(view.entries) == 20)
        assert lost.count == 0


async def test_permission_taken_away_and_given_back_is_followed() -> None:
    with running_etcd() as server:
        server.put("/mine/1", b"one")
        url = server.url_of(USER, PASSWORD.replace("@", "%40").replace("/", "%2F"))
        async with open_etcd(url) as registry, watching(registry, "/mine/") as (view, changes):
            assert view.entries == {"/mine/1": b"one"}  # a user where there are none
            server.enable_authentication(USER, PASSWORD, "/mine/")
            assert await registry.read("/mine/") == {"/mine/1": b"one"}
            role = {"role": "holder", "user": USER}
            server.call("/v3/auth/user/revoke", {"name": USER, "role": "holder"}, token(server))
            server.kill()
            server.start()
            await changes.until(lambda: not view.live)
            await trio.sleep(0.5)
            assert not view.live
            server.call("/v3/auth/user/grant", role, token(server))
            await changes.until(lambda: view.live)


def token(server: EtcdServer) -> str:
    return server.root_token()


class Files:
    """Certificates of one CA, as files.

    Attributes:
        ca: PEM of the CA.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for a host."""
        issued = self._authority.issue_cert(name)
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        issued.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, key

    def client(self, ca: Path | None = None) -> Tls:
        return Tls(ca or self.ca, *self.issue("client.example"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def secure(ours: Files) -> Iterator[EtcdServer]:
    """With a certificate of its own; it asks clients for none."""
    with running_etcd(ServerTls(*ours.issue(TLS_HOST)), TLS_HOST) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(ours: Files) -> Iterator[EtcdServer]:
    """It wants certificates of clients, too."""
    with running_etcd(ServerTls(*ours.issue(TLS_HOST), clients=ours.ca), TLS_HOST) as server:
        yield server


async def use(url: str, tls: Tls | None) -> None:
    """What uses the connection: reading, writing, watching."""
    async with open_etcd(url, tls=tls) as registry, watching(registry, "/a/") as (view, changes):
        lease = await registry.grant(20, nothing)
        await lease.put("/a/1", b"one")
        await changes.until(lambda: view.entries == {"/a/1": b"one"})
        await lease.revoke()
        await changes.until(lambda: not view.entries)


async def test_tls_with_a_certificate_of_the_server(secure: EtcdServer, ours: Files) -> None:
    await use(secure.url, ours.client())


async def test_tls_trusts_the_systems_authorities_by_default(
    secure: EtcdServer, ours: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryError, match="not to be trusted"):
        await use(secure.url, None)
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
    await use(secure.url, None)


async def test_mutual_tls(mutual: EtcdServer, ours: Files) -> None:
    await use(mutual.url, ours.client())


async def test_server_of_another_authority_is_refused(
    secure: EtcdServer, theirs: Files, ours: Files
) -> None:
    with pytest.raises(RegistryError, match="is not to be trusted") as caught:
        await use(secure.url, ours.client(ca=theirs.ca))
    assert not isinstance(caught.value, RegistryUnavailableError)


async def test_server_with_the_certificate_of_another_host_is_refused(ours: Files) -> None:
    with (
        running_etcd(ServerTls(*ours.issue("127.83.11.9")), TLS_HOST) as server,
        pytest.raises(RegistryError, match=r"is not to be trusted.*IP address mismatch"),
    ):
        await use(server.url, ours.client())


async def test_client_whose_certificate_is_refused_is_told(
    mutual: EtcdServer, theirs: Files, ours: Files
) -> None:
    with pytest.raises(RegistryError, match="refuses TLS with our certificate") as caught:
        await use(mutual.url, theirs.client(ca=ours.ca))
    assert not isinstance(caught.value, RegistryUnavailableError)


async def test_wrong_scheme_is_told(secure: EtcdServer, ours: Files, guarded: EtcdServer) -> None:
    with pytest.raises(RegistryError, match="etcds://"):
        await use(secure.url.replace("etcds", "etcd"), None)
    with pytest.raises(RegistryError, match="etcd://"):
        await use(guarded.url.replace("etcd", "etcds"), ours.client())


async def test_files_that_cannot_be_used_are_named(ours: Files, tmp_path: Path) -> None:
    good = ours.client()
    missing = tmp_path / "missing.pem"
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\n")
    for tls in (
        Tls(missing, good.certificate, good.key),
        Tls(good.ca, good.certificate, missing),
        Tls(garbage, good.certificate, good.key),
        Tls(good.ca, good.key, good.key),
        Tls(good.ca, good.certificate, ours.issue("else.example")[1]),
    ):
        with pytest.raises(PipeOptionError, match="cannot be used"):
            async with open_etcd("etcds://127.0.0.1:1", tls=tls):
                raise AssertionError("opened")
