"""Certificates: who is let in, who is kept out, and what is wrong with files."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.authentication import (
    MAX_PROOF,
    NONCE_SIZE,
    Certificates,
    Nonces,
    Side,
)
from eventgraph.flows.authentication.certificates import CertificateProof
from eventgraph.flows.authentication.chain import MAX_CHAIN
from eventgraph.flows.authentication.credentials import MAX_FILE
from eventgraph.flows.errors import AuthenticationError, FlowOptionError

from .certificate_support import DAY, IS_AUTHORITY, Extensions, Issued, Key, by_trustme

NONCES = Nonces(client=b"c" * NONCE_SIZE, server=b"s" * NONCE_SIZE)
OTHER_NONCES = Nonces(client=b"c" * NONCE_SIZE, server=b"t" * NONCE_SIZE)
SIDES = [Side.CLIENT, Side.SERVER]


@pytest.fixture(scope="module")
def authority() -> Issued:
    return Issued("our authority", extensions=IS_AUTHORITY)


@pytest.fixture(scope="module")
def camera(authority: Issued, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Issued("camera", authority).files(tmp_path_factory.mktemp("a"), authority))


@pytest.fixture(scope="module")
def mixer(authority: Issued, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Issued("mixer", authority).files(tmp_path_factory.mktemp("b"), authority))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", list(trustme.KeyType))
def test_certificates_of_trustme_are_accepted(
    tmp_path: Path, kind: trustme.KeyType, side: Side
) -> None:
    root = trustme.CA(key_type=kind)
    here = Certificates(by_trustme(tmp_path / "a", root, root.issue_cert("127.0.0.1")))
    for names, common, expected in (
        (["10.1.2.3"], None, "10.1.2.3"),
        (["studio.example"], None, "studio.example"),
        (["mixer@studio.example"], None, "mixer@studio.example"),
        ([], "camera 1", "camera 1"),
        (["studio.example"], "camera 1", "camera 1"),
    ):
        leaf = root.issue_cert(*names, common_name=common, key_type=kind)
        there = Certificates(by_trustme(tmp_path / "b", root, leaf))
        assert here.verify(side, NONCES, there.prove(side, NONCES)) == expected


def test_chain_through_another_authority_is_accepted(tmp_path: Path) -> None:
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("studio.example")
    there = Certificates(by_trustme(tmp_path / "b", root, leaf))
    here = Certificates(by_trustme(tmp_path / "a", root, root.issue_cert("127.0.0.1")))
    proof = there.prove(Side.CLIENT, NONCES)
    assert here.verify(Side.CLIENT, NONCES, proof) == "studio.example"
    alone = CertificateProof(chain=sent(proof).chain[:1], signature=sent(proof).signature)
    with pytest.raises(AuthenticationError, match="no authority of ours"):
        here.verify(Side.CLIENT, NONCES, msgspec.msgpack.encode(alone))


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate,
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 3072),
    ],
    ids=["ed25519", "p384", "p521", "rsa3072"],
)
def test_party_signs_with_the_key_that_it_has(
    tmp_path: Path, authority: Issued, camera: Certificates, key: Callable[[], Key]
) -> None:
    there = Certificates(Issued("mixer", authority, key=key()).files(tmp_path, authority))
    proof = there.prove(Side.SERVER, NONCES)
    assert camera.verify(Side.SERVER, NONCES, proof) == "mixer"
    with pytest.raises(AuthenticationError, match="not for this connection"):
        camera.verify(Side.SERVER, OTHER_NONCES, proof)


def sent(proof: bytes) -> CertificateProof:
    return msgspec.msgpack.decode(proof, type=CertificateProof)


def test_proof_by_certificate_cannot_be_reflected_or_replayed(
    camera: Certificates, mixer: Certificates
) -> None:
    proof = mixer.prove(Side.CLIENT, NONCES)
    assert camera.verify(Side.CLIENT, NONCES, proof) == "mixer"
    for side, nonces in ((Side.SERVER, NONCES), (Side.CLIENT, OTHER_NONCES)):
        with pytest.raises(AuthenticationError, match="signature is not by the key"):
            camera.verify(side, nonces, proof)


def test_certificate_of_another_with_our_signature_is_refused(
    camera: Certificates, mixer: Certificates
) -> None:
    theirs, ours = (sent(one.prove(Side.CLIENT, NONCES)) for one in (mixer, camera))
    forged = msgspec.msgpack.encode(CertificateProof(theirs.chain, ours.signature))
    with pytest.raises(AuthenticationError, match="signature is not by the key"):
        camera.verify(Side.CLIENT, NONCES, forged)


def test_authority_that_is_not_ours_is_refused_also_under_our_name(
    tmp_path: Path, camera: Certificates
) -> None:
    for name in ("their authority", "our authority"):
        stranger = Issued(name, extensions=IS_AUTHORITY)
        there = Certificates(Issued("camera", stranger).files(tmp_path, stranger))
        with pytest.raises(AuthenticationError, match=r"the client could.*no authority of ours"):
            camera.verify(Side.CLIENT, NONCES, there.prove(Side.CLIENT, NONCES))


def test_certificate_is_refused_before_and_after_its_time(
    tmp_path: Path, authority: Issued, camera: Certificates
) -> None:
    now = datetime.now(UTC)
    for start, reason in ((now - 20 * DAY, "expired on"), (now + DAY, "is not valid before")):
        tls = Issued("camera", authority, start=start).files(tmp_path, authority)
        there = Certificates(tls, clock=lambda start=start: start + DAY)  # type: ignore[misc]
        with pytest.raises(AuthenticationError, match=reason):
            camera.verify(Side.CLIENT, NONCES, there.prove(Side.CLIENT, NONCES))
        with pytest.raises(FlowOptionError, match=rf"{tls.certificate} {reason}.*: (renew|set)"):
            Certificates(tls)


def test_certificate_that_expires_while_we_run_is_refused_from_then_on(
    tmp_path: Path, authority: Issued, mixer: Certificates
) -> None:
    now = datetime.now(UTC)
    here = Certificates(Issued("camera", authority).files(tmp_path, authority), lambda: now)
    proof = mixer.prove(Side.CLIENT, NONCES)
    assert here.verify(Side.CLIENT, NONCES, proof) == "mixer"
    now += 30 * DAY
    with pytest.raises(AuthenticationError, match="expired on"):
        here.verify(Side.CLIENT, NONCES, proof)


def test_authority_that_has_expired_vouches_for_nobody(tmp_path: Path, authority: Issued) -> None:
    now = datetime.now(UTC)
    here = Certificates(Issued("camera", authority).files(tmp_path, authority), lambda: now)
    proof = prove_as(Issued("mixer", authority, start=now + 5 * DAY))
    now += 6 * DAY
    assert here.verify(Side.CLIENT, NONCES, proof) == "mixer"
    now += 6 * DAY
    with pytest.raises(AuthenticationError, match=r"no authority of ours.*not valid at"):
        here.verify(Side.CLIENT, NONCES, proof)


def prove_as(party: Issued, *between: Issued) -> bytes:
    """What somebody sends who does not check his own files."""
    keyed = Certificates.__new__(Certificates)
    keyed._key = party.key
    keyed._chain = [one.der for one in (party, *between)]
    return keyed.prove(Side.CLIENT, NONCES)


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        (IS_AUTHORITY, "that of an authority"),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)], "not for a client"),
        (
            [(x509.KeyUsage(False, False, True, False, False, False, False, False, False), True)],
            "key is not for signatures",
        ),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"?"), True)],
            "unaccounted-for critical extensions",
        ),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"?"), False)],
            "could not prove itself",  # a keyUsage that cannot be read
        ),
    ],
)
def test_what_a_certificate_says_of_itself_holds(
    authority: Issued, camera: Certificates, extensions: Extensions, reason: str
) -> None:
    with pytest.raises(AuthenticationError, match=reason):
        camera.verify(Side.CLIENT, NONCES, prove_as(Issued("x", authority, extensions)))


def test_certificate_for_servers_is_good_for_a_server(
    tmp_path: Path, authority: Issued, camera: Certificates
) -> None:
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    there = Certificates(Issued("mixer", authority, [(purpose, False)]).files(tmp_path, authority))
    assert camera.verify(Side.SERVER, NONCES, there.prove(Side.SERVER, NONCES)) == "mixer"


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        [(x509.BasicConstraints(ca=False, path_length=None), True)],
        [
            *IS_AUTHORITY,
            (x509.KeyUsage(True, False, False, False, False, False, True, False, False), True),
        ],
    ],
    ids=["nothing", "no authority", "no signing of certificates"],
)
def test_party_that_is_no_authority_cannot_vouch_for_others(
    authority: Issued, camera: Certificates, extensions: Extensions
) -> None:
    party = Issued("party", authority, extensions)
    with pytest.raises(AuthenticationError, match="no authority of ours"):
        camera.verify(Side.CLIENT, NONCES, prove_as(Issued("guest", party), party))


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: ec.generate_private_key(ec.SECP224R1()),
    ],
    ids=["rsa1024", "p224"],
)
def test_weak_key_is_refused_on_both_sides(
    tmp_path: Path, authority: Issued, camera: Certificates, key: Callable[[], Key]
) -> None:
    party = Issued("weak", authority, key=key())
    with pytest.raises(AuthenticationError, match="has less than"):
        camera.verify(Side.CLIENT, NONCES, prove_as(party))
    with pytest.raises(FlowOptionError, match=r"certificate.pem cannot be used: its .* less than"):
        Certificates(party.files(tmp_path, authority))


def test_authorities_that_vouch_for_each_other_in_circles_are_given_up(
    camera: Certificates,
) -> None:
    circle = [Issued("circle", extensions=IS_AUTHORITY)]
    for _ in range(MAX_CHAIN - 2):
        circle.append(Issued("circle", extensions=IS_AUTHORITY, key=circle[0].key))
    with pytest.raises(AuthenticationError, match="no authority of ours"):
        camera.verify(Side.CLIENT, NONCES, prove_as(Issued("x", circle[0]), *circle))


def test_name_in_a_certificate_stays_on_one_line_of_a_log(
    authority: Issued, camera: Certificates
) -> None:
    party = Issued("mixer\nroot logged in\x1b[2J", authority)
    name = camera.verify(Side.CLIENT, NONCES, prove_as(party))
    assert name == r"'mixer\nroot logged in\x1b[2J'"


@pytest.mark.parametrize("size", [0, MAX_CHAIN + 1])
def test_chain_of_no_or_too_many_certificates_is_refused(
    authority: Issued, camera: Certificates, size: int
) -> None:
    proof = msgspec.msgpack.encode(CertificateProof([authority.der] * size, b""))
    with pytest.raises(AuthenticationError, match="length"):
        camera.verify(Side.CLIENT, NONCES, proof)


def test_proof_that_is_too_large_is_not_looked_at(camera: Certificates) -> None:
    with pytest.raises(AuthenticationError, match=f"more than {MAX_PROOF} bytes"):
        camera.verify(Side.CLIENT, NONCES, b"\x91" * (MAX_PROOF + 1))
    with pytest.raises(AuthenticationError, match="no certificates"):
        camera.verify(Side.CLIENT, NONCES, b"\x91" * MAX_PROOF)


@given(proof=st.binary(max_size=256), side=st.sampled_from(SIDES))
def test_any_bytes_as_certificates_are_refused(
    camera: Certificates, proof: bytes, side: Side
) -> None:
    with pytest.raises(AuthenticationError, match=f"the {side} could not prove itself"):
        camera.verify(side, NONCES, proof)


@given(
    chain=st.lists(st.binary(max_size=64), max_size=MAX_CHAIN), signature=st.binary(max_size=128)
)
def test_any_certificates_of_any_bytes_are_refused(
    camera: Certificates, chain: list[bytes], signature: bytes
) -> None:
    with pytest.raises(AuthenticationError):
        camera.verify(
            Side.CLIENT, NONCES, msgspec.msgpack.encode(CertificateProof(chain, signature))
        )


@given(position=st.integers(0, MAX_PROOF), change=st.integers(1, 255))
def test_proof_with_one_signed_byte_changed_is_refused(
    camera: Certificates, mixer: Certificates, position: int, change: int
) -> None:
    proof = mixer.prove(Side.CLIENT, NONCES)
    # not what is around it: the signature of the authority can be written in several ways
    signed = x509.load_der_x509_certificate(sent(proof).chain[0]).tbs_certificate_bytes
    for part in (signed, sent(proof).signature):
        changed = bytearray(proof)
        changed[proof.index(part) + position % len(part)] ^= change
        with pytest.raises(AuthenticationError):
            camera.verify(Side.CLIENT, NONCES, bytes(changed))


@given(edits=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=4))
def test_certificate_of_broken_bytes_is_refused_whoever_signed_it(
    camera: Certificates, authority: Issued, edits: list[tuple[int, int]]
) -> None:
    der = bytearray(authority.der)
    for position, byte in edits:
        del der[position % len(der)]
        der.insert(7 * position % len(der), byte)
    proof = CertificateProof([bytes(der), authority.der], b"signature")
    with pytest.raises(AuthenticationError):
        camera.verify(Side.CLIENT, NONCES, msgspec.msgpack.encode(proof))


@pytest.mark.parametrize("field", ["ca", "certificate", "key"])
def test_file_that_is_missing_or_nothing_in_pem_is_named(
    tmp_path: Path, authority: Issued, field: str
) -> None:
    tls = Issued("x", authority).files(tmp_path, authority)
    path: Path = getattr(tls, field)
    for content in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE"):
        path.write_bytes(content)
        with pytest.raises(FlowOptionError, match=rf"{path}.*must have -----BEGIN"):
            Certificates(tls)
    path.write_bytes(b"x" * (MAX_FILE + 1))
    with pytest.raises(FlowOptionError, match=rf"{path} has more than {MAX_FILE} bytes"):
        Certificates(tls)
    path.unlink()
    with pytest.raises(FlowOptionError, match=rf"cannot read the .*{path}: No such file"):
        Certificates(tls)


def test_files_that_do_not_fit_each_other_are_refused(tmp_path: Path, authority: Issued) -> None:
    party, other = (Issued(name, authority) for name in ("x", "y"))
    tls = party.files(tmp_path, authority)
    tls.ca.write_bytes(other.pem)
    with pytest.raises(FlowOptionError, match=r"ca.pem holds CN=y, which is no authority"):
        Certificates(tls)
    tls = party.files(tmp_path, authority)
    tls.certificate.write_bytes(other.pem)
    with pytest.raises(FlowOptionError, match=r"key.pem does not belong to .*certificate.pem"):
        Certificates(tls)
    tls.certificate.write_bytes(party.pem * (MAX_CHAIN + 1))
    with pytest.raises(FlowOptionError, match=r"certificate.pem holds 5 certificates; at most 4"):
        Certificates(tls)


def test_key_that_cannot_be_used_is_refused(tmp_path: Path, authority: Issued) -> None:
    party = Issued("x", authority)
    tls = party.files(tmp_path, authority)
    locked = BestAvailableEncryption(b"password")
    tls.key.write_bytes(party.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(FlowOptionError, match=r"key.pem has a password"):
        Certificates(tls)
    strange = ed448.Ed448PrivateKey.generate()
    tls.key.write_bytes(strange.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(FlowOptionError, match=r"key.pem is neither Ed25519, nor ECDSA, nor RSA"):
        Certificates(tls)


def test_authority_that_the_library_does_not_take_is_refused_at_once(tmp_path: Path) -> None:
    root = Issued("root", extensions=IS_AUTHORITY, key=ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(FlowOptionError, match=r"ca.pem has an Ed25519 key"):
        Certificates(Issued("x", root).files(tmp_path, root))


def test_chain_that_is_too_large_to_be_sent_is_refused(tmp_path: Path, authority: Issued) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName(f"{i}.example") for i in range(2000)])
    tls = Issued("x", authority, [(names, False)]).files(tmp_path, authority)
    with pytest.raises(FlowOptionError, match=r"certificate.pem are too large to be sent"):
        Certificates(tls)


def test_private_key_is_not_shown(tmp_path: Path) -> None:
    root = trustme.CA()
    tls = by_trustme(tmp_path, root, root.issue_cert("127.0.0.1"))
    key = load_pem_private_key(tls.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificates = Certificates(tls)
    assert str(key.private_numbers().private_value) not in f"{certificates!r} {certificates}"
    assert certificates.needs_secure_transport
    assert certificates.channel_key(NONCES) is None


def version_1(party: Issued, authority: Issued) -> bytes:
    """The certificate as of 1988, in DER: without extensions, and without its version."""

    def der(tag: int, content: bytes) -> bytes:
        return bytes([tag, 0x82, *len(content).to_bytes(2, "big")]) + content

    header, version, content = party.certificate.tbs_certificate_bytes.partition(
        b"\xa0\x03\x02\x01\x02"
    )
    assert header[0] == 0x30
    assert version
    # lengths of two bytes are DER from 256 on: the name and the RSA key of the party see to it
    signed = der(0x30, content)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    signature = authority.key.sign(signed, ec.ECDSA(SHA256()))
    bits = b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature
    return der(0x30, signed + algorithm + bits)


def test_certificate_of_version_1_is_refused_on_both_sides(
    tmp_path: Path, authority: Issued, camera: Certificates
) -> None:
    party = Issued("x" * 64, authority, key=rsa.generate_private_key(65537, 2048))
    old = version_1(party, authority)
    assert x509.load_der_x509_certificate(old).version is x509.Version.v1
    party.der = old
    with pytest.raises(AuthenticationError, match="X509v3"):
        camera.verify(Side.CLIENT, NONCES, prove_as(party))
    party.pem = x509.load_der_x509_certificate(old).public_bytes(Encoding.PEM)
    with pytest.raises(FlowOptionError, match=r"certificate.pem is of version 1.*-extfile"):
        Certificates(party.files(tmp_path, authority))
