"""Certificates for tests, as other tools make them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from eventgraph.pipes.transport import Tls

DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Extensions = Sequence[tuple[x509.ExtensionType, bool]]

IS_AUTHORITY: Extensions = [(x509.BasicConstraints(ca=True, path_length=None), True)]


class Issued:
    """A certificate with its key, made as other tools make them."""

    def __init__(
        self,
        name: str,
        issuer: "Issued | None" = None,
        extensions: Extensions = (),
        key: Key | None = None,
        start: datetime | None = None,
    ) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        signer = issuer or self
        start = start or datetime.now(UTC) - DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .not_valid_before(start)
            .not_valid_after(start + 10 * DAY)
            .serial_number(x509.random_serial_number())
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        ed = isinstance(signer.key, ed25519.Ed25519PrivateKey)
        self.certificate = builder.sign(signer.key, None if ed else SHA256())
        self.pem = self.certificate.public_bytes(Encoding.PEM)
        self.der = self.certificate.public_bytes(Encoding.DER)

    def files(self, directory: Path, authority: "Issued", *between: "Issued") -> Tls:
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(one.pem for one in (self, *between))
        return write(directory, authority.pem, chain, private)


def write(directory: Path, ca: bytes, certificate: bytes, key: bytes) -> Tls:
    directory.mkdir(parents=True, exist_ok=True)
    files = Tls(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
    files.ca.write_bytes(ca)
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    return files


def by_trustme(directory: Path, root: trustme.CA, leaf: trustme.LeafCert) -> Tls:
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    return write(directory, root.cert_pem.bytes(), chain, leaf.private_key_pem.bytes())
