"""Authentication: trust, a shared secret, opening by name, and the handshake."""

import hashlib
import hmac
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.authentication import (
    ENTRY_POINTS,
    MAX_PROOF,
    NONCE_SIZE,
    Authentication,
    AuthenticationOptions,
    Certificates,
    ClientHandshake,
    Nonces,
    ServerHandshake,
    SharedSecret,
    Side,
    TrustEverybody,
    open_authentication,
)
from eventgraph.flows.authentication.secret import MAX_SECRET
from eventgraph.flows.errors import AuthenticationError, FlowOptionError

from .certificate_support import IS_AUTHORITY, Issued

NONCES = Nonces(client=b"c" * NONCE_SIZE, server=b"s" * NONCE_SIZE)
OTHER_NONCES = Nonces(client=b"c" * NONCE_SIZE, server=b"t" * NONCE_SIZE)
SIDES = [Side.CLIENT, Side.SERVER]
WORD = b"correct horse battery staple"
SECRET = SharedSecret(WORD)


@pytest.fixture(scope="module")
def authority() -> Issued:
    return Issued("our authority", extensions=IS_AUTHORITY)


@pytest.fixture(scope="module")
def camera(authority: Issued, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Issued("camera", authority).files(tmp_path_factory.mktemp("a"), authority))


@pytest.fixture(scope="module")
def mixer(authority: Issued, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Issued("mixer", authority).files(tmp_path_factory.mktemp("b"), authority))


def shake(client: ClientHandshake, server: ServerHandshake) -> None:
    proof = client.answer(server.method, server.nonce)
    client.finish(server.answer(client.method, client.nonce, proof))


# Trust


@given(st.sampled_from(SIDES), st.binary(max_size=64))
def test_trust_lets_in_who_sends_nothing_and_only_those(side: Side, proof: bytes) -> None:
    trust = TrustEverybody()
    if proof:
        with pytest.raises(AuthenticationError, match=f"the {side} sent a proof of {len(proof)} b"):
            trust.verify(side, NONCES, proof)
    else:
        assert trust.prove(side, NONCES) == proof
        assert trust.verify(side, NONCES, proof) == "anybody"


# Shared secret


@pytest.mark.parametrize("side", SIDES)
def test_proof_of_the_secret_is_the_hmac_that_the_protocol_names(side: Side) -> None:
    text = f"eventgraph flows authentication 1\0secret\0{side.value}\0".encode()
    text += NONCES.client + NONCES.server
    assert SECRET.prove(side, NONCES) == hmac.new(WORD, text, hashlib.sha256).digest()
    assert SharedSecret(WORD).verify(side, NONCES, SECRET.prove(side, NONCES))


def test_channel_key_is_hkdf_of_the_secret_over_both_nonces() -> None:
    extracted = hmac.new(NONCES.client + NONCES.server, WORD, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"eventgraph flows channel 1\x01", hashlib.sha256).digest()
    assert SECRET.channel_key(NONCES) == expanded
    assert SECRET.channel_key(OTHER_NONCES) != expanded
    assert SharedSecret(WORD + b"!").channel_key(NONCES) != expanded
    assert not SECRET.needs_secure_transport


def test_wrong_secret_is_refused_and_neither_shows() -> None:
    wrong = SharedSecret(b"incorrect horse battery staple")
    with pytest.raises(AuthenticationError, match="could not prove itself: wrong secret") as caught:
        SECRET.verify(Side.CLIENT, NONCES, wrong.prove(Side.CLIENT, NONCES))
    shown = f"{caught.value!r} {caught.value.__cause__} {SECRET!r} {SECRET} {wrong!r}"
    assert "horse" not in shown
    assert SECRET.prove(Side.CLIENT, NONCES).hex() not in shown


def test_proof_of_the_secret_cannot_be_reflected_or_replayed() -> None:
    proof = SECRET.prove(Side.CLIENT, NONCES)
    with pytest.raises(AuthenticationError):
        SECRET.verify(Side.SERVER, NONCES, proof)
    with pytest.raises(AuthenticationError):
        SECRET.verify(Side.CLIENT, OTHER_NONCES, proof)
    with pytest.raises(AuthenticationError):
        SECRET.verify(Side.CLIENT, Nonces(NONCES.server, NONCES.client), proof)


@given(st.sampled_from(SIDES), st.binary(max_size=80))
def test_any_bytes_as_proof_of_the_secret_are_refused(side: Side, proof: bytes) -> None:
    with pytest.raises(AuthenticationError):
        SECRET.verify(side, NONCES, proof)


@pytest.mark.parametrize("size", [0, NONCE_SIZE - 1, NONCE_SIZE + 1])
def test_nonce_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(AuthenticationError, match=f"the client has {size} bytes instead of 32"):
        Nonces(client=bytes(size), server=NONCES.server)
    with pytest.raises(AuthenticationError, match=f"the server has {size} bytes instead of 32"):
        Nonces(client=NONCES.client, server=bytes(size))


@pytest.mark.parametrize("size", [0, 15, MAX_SECRET + 1])
def test_secret_that_is_too_short_or_too_long_is_refused(size: int) -> None:
    with pytest.raises(FlowOptionError, match=rf"has {size} bytes.*openssl rand -hex 32"):
        SharedSecret(b"x" * size)


def secret_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_secret_is_read_from_a_file_without_one_newline_at_its_end(
    tmp_path: Path, mode: int
) -> None:
    same = SharedSecret.from_file(secret_file(tmp_path, WORD + b"\n", mode))
    assert same.prove(Side.CLIENT, NONCES) == SECRET.prove(Side.CLIENT, NONCES)


def test_second_newline_and_spaces_belong_to_the_secret(tmp_path: Path) -> None:
    kept = SharedSecret.from_file(secret_file(tmp_path, b" " + WORD + b"\n\n"))
    exact = SharedSecret(b" " + WORD + b"\n")
    assert kept.prove(Side.CLIENT, NONCES) == exact.prove(Side.CLIENT, NONCES)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_secret_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, WORD, mode)
    with pytest.raises(FlowOptionError, match=rf"{path} is open to others .*{mode:o}.*chmod 600"):
        SharedSecret.from_file(path)


def test_link_to_a_secret_file_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret_file(tmp_path, WORD))
    SharedSecret.from_file(link)
    secret_file(tmp_path, WORD, 0o644)
    with pytest.raises(FlowOptionError, match="open to others"):
        SharedSecret.from_file(link)


def test_what_is_no_secret_file_is_refused_and_does_not_block(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    open_before = os.listdir("/proc/self/fd")
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(FlowOptionError, match=f"{path} is no regular file"):
            SharedSecret.from_file(path)
    with pytest.raises(FlowOptionError, match="No such file"):
        SharedSecret.from_file(tmp_path / "missing")
    with pytest.raises(FlowOptionError, match="null byte"):
        SharedSecret.from_file(tmp_path / "a\0b")
    assert os.listdir("/proc/self/fd") == open_before


def test_size_of_a_secret_file_is_bounded(tmp_path: Path) -> None:
    longest = secret_file(tmp_path, b"x" * MAX_SECRET + b"\n")
    SharedSecret.from_file(longest)
    for size in (15, MAX_SECRET + 1, MAX_SECRET + 2):
        with pytest.raises(FlowOptionError, match="secret") as caught:
            SharedSecret.from_file(secret_file(tmp_path, b"x" * size))
        assert "xxx" not in f"{caught.value!r}"


# Opening


def test_shipped_ways_are_opened_by_their_names(tmp_path: Path, authority: Issued) -> None:
    secret = secret_file(tmp_path, WORD)
    tls = Issued("x", authority).files(tmp_path, authority)
    for options, kind in (
        (AuthenticationOptions(), TrustEverybody),
        (AuthenticationOptions("secret", secret, tls), SharedSecret),
        (AuthenticationOptions("certificates", tls=tls), Certificates),
    ):
        opened = open_authentication(options)
        assert type(opened) is kind
        assert opened.name == options.method


def test_unknown_way_is_refused_with_those_that_exist() -> None:
    with pytest.raises(FlowOptionError, match=r"'kerberos'.*certificates, secret, trust"):
        open_authentication(AuthenticationOptions("kerberos"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (AuthenticationOptions("trust", Path("/s")), "everybody is trusted: authenticate by 'sec"),
        (AuthenticationOptions("secret"), "give the file that holds it"),
        (AuthenticationOptions("certificates"), "give the files of the authority"),
        (AuthenticationOptions("certificates", Path("/s")), "leave out one"),
    ],
)
def test_options_that_do_not_fit_the_way_are_refused(
    options: AuthenticationOptions, reason: str
) -> None:
    with pytest.raises(FlowOptionError, match=reason):
        open_authentication(options)


def test_trust_and_secret_do_without_cryptography(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from eventgraph.flows.authentication import AuthenticationOptions, open_authentication\n"
        "open_authentication(AuthenticationOptions())\n"
        f"open_authentication(AuthenticationOptions('secret', Path({str(tmp_path)!r}, 'secret')))\n"
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    secret_file(tmp_path, WORD)
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "[]\n"


PACKAGES = ("badges_one", "badges_two")


def install(directory: Path, package: str, source: str, target: str) -> None:
    """What pip leaves of a package with one entry point."""
    (directory / f"{package}.py").write_text(source)
    metadata = directory / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nbadge = {package}:{target}\n")
    importlib.invalidate_caches()  # the directory may have changed within one tick of its clock


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for package in PACKAGES:
        sys.modules.pop(package, None)


def test_other_packages_bring_ways_of_their_own(site: Path) -> None:
    source = (
        "from eventgraph.flows.authentication import TrustEverybody\n"
        "class Badge(TrustEverybody):\n"
        "    name = 'badge'\n"
    )
    install(site, PACKAGES[0], source, "Badge.from_options")
    opened = open_authentication(AuthenticationOptions("badge"))
    assert opened.name == "badge"
    install(site, PACKAGES[1], source, "Badge.from_options")
    with pytest.raises(FlowOptionError, match=r"several packages.*badges_one:B.*badges_two:B"):
        open_authentication(AuthenticationOptions("badge"))


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("import no_such_module", "make", "cannot be loaded.*no_such_module"),
        ("", "make", "cannot be loaded.*make"),
        ("def make(options): return 'badge'", "make", "makes no Authentication"),
        ("make = 5", "make", "makes no Authentication"),
    ],
)
def test_package_that_brings_no_way_is_named(
    site: Path, source: str, target: str, reason: str
) -> None:
    install(site, PACKAGES[0], source, target)
    with pytest.raises(FlowOptionError, match=rf"'badge' {reason}"):
        open_authentication(AuthenticationOptions("badge"))


# Handshake


def test_both_sides_know_each_other_after_the_handshake(
    camera: Certificates, mixer: Certificates
) -> None:
    for here, there, names in (
        (TrustEverybody(), TrustEverybody(), ("anybody", "anybody")),
        (SECRET, SharedSecret(WORD), ("who knows the secret", "who knows the secret")),
        (camera, mixer, ("mixer", "camera")),
    ):
        client, server = ClientHandshake(here), ServerHandshake(there)
        shake(client, server)
        assert (client.peer, server.peer) == names
        assert client.channel_key() == server.channel_key()
    client, server = ClientHandshake(SECRET), ServerHandshake(SECRET)
    shake(client, server)
    assert len(client.channel_key() or b"") == 32


def test_each_connection_has_nonces_and_a_channel_key_of_its_own() -> None:
    seen: set[bytes | None] = set()
    for _ in range(20):
        client, server = ClientHandshake(SECRET), ServerHandshake(SECRET)
        shake(client, server)
        seen |= {client.nonce, server.nonce, client.channel_key()}
    assert len(seen) == 60


@pytest.mark.parametrize(
    ("here", "there"), [(SECRET, TrustEverybody()), (TrustEverybody(), SECRET)]
)
def test_sides_that_authenticate_differently_say_both_names(
    here: Authentication, there: Authentication
) -> None:
    names = f"by '{here.name}', the other side by '{there.name}'"
    with pytest.raises(AuthenticationError, match=names):
        ClientHandshake(here).answer(there.name, bytes(NONCE_SIZE))
    server = ServerHandshake(here)
    with pytest.raises(AuthenticationError, match=names):
        server.answer(there.name, bytes(NONCE_SIZE), b"")
    assert not server.peer


def test_name_of_the_other_way_is_repeated_only_in_part() -> None:
    with pytest.raises(AuthenticationError) as caught:
        ServerHandshake(SECRET).answer("x\n" * 10_000, bytes(NONCE_SIZE), b"")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_client_without_the_secret_gets_no_proof_and_no_second_try() -> None:
    client, server = ClientHandshake(SharedSecret(b"x" * 16)), ServerHandshake(SECRET)
    with pytest.raises(AuthenticationError, match="wrong secret"):
        shake(client, server)
    right = SECRET.prove(Side.CLIENT, Nonces(client.nonce, server.nonce))
    with pytest.raises(AuthenticationError, match="one try"):
        server.answer("secret", client.nonce, right)
    with pytest.raises(AuthenticationError, match="has not proved"):
        server.channel_key()


def test_server_without_the_secret_is_refused_for_good() -> None:
    client, server = ClientHandshake(SECRET), ServerHandshake(SECRET)
    client.answer(server.method, server.nonce)
    nonces = Nonces(client.nonce, server.nonce)
    with pytest.raises(AuthenticationError, match="the server could not prove itself"):
        client.finish(SECRET.prove(Side.CLIENT, nonces))  # our own, reflected
    with pytest.raises(AuthenticationError, match="nothing that the server could prove"):
        client.finish(SECRET.prove(Side.SERVER, nonces))
    with pytest.raises(AuthenticationError, match="has not proved"):
        client.channel_key()
    with pytest.raises(AuthenticationError, match="one try"):
        client.answer(server.method, server.nonce)


def test_client_that_has_not_answered_does_not_finish() -> None:
    client = ClientHandshake(TrustEverybody())
    with pytest.raises(AuthenticationError, match="nothing that the server could prove"):
        client.finish(b"")
    assert not client.peer


@given(st.text(max_size=8), st.binary(max_size=40), st.binary(max_size=80))
def test_any_answer_is_accepted_or_an_authentication_error(
    method: str, nonce: bytes, proof: bytes
) -> None:
    for handshake_method in (method, "secret"):
        server = ServerHandshake(SECRET)
        with pytest.raises(AuthenticationError):
            server.answer(handshake_method, nonce, proof)
        client = ClientHandshake(SECRET)
        with pytest.raises(AuthenticationError):
            client.answer(handshake_method, nonce)
            client.finish(proof)


def test_proof_above_the_limit_is_refused_whoever_would_verify_it() -> None:
    server = ServerHandshake(TrustEverybody())
    with pytest.raises(AuthenticationError, match=f"more than {MAX_PROOF}"):
        server.answer("trust", bytes(NONCE_SIZE), bytes(MAX_PROOF + 1))
