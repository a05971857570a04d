"""What a party has in its files: certificates and a key, checked when it starts."""

from datetime import datetime
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from eventgraph.flows.authentication.chain import MAX_CHAIN
from eventgraph.flows.authentication.files import read_file
from eventgraph.flows.authentication.signature import PrivateKey, is_signed, sign, weakness
from eventgraph.flows.errors import FlowOptionError
from eventgraph.pipes.transport import Tls

MAX_FILE: Final = 1 << 20  # bytes; all authorities of the web have a quarter of it


class Credentials(msgspec.Struct, frozen=True):
    """What the files of a `Tls` hold.

    Attributes:
        authorities: whom we trust to vouch for others.
        chain: our certificate, and those between it and its authority.
        signature_size: bytes, at least.
    """

    authorities: list[x509.Certificate]
    chain: list[x509.Certificate]
    key: PrivateKey
    signature_size: int

    def __repr__(self) -> str:
        return f"Credentials({len(self.authorities)} authorities, {self.chain[0].subject})"

    @classmethod
    def read(cls, tls: Tls, now: datetime) -> Self:
        """Read the three files.

        Args:
            now: with a time zone.
        Raises:
            FlowOptionError: one of them cannot be used; says which, and what to do.
        """
        authorities = _certificates("CA file", tls.ca)
        for authority in authorities:
            _check_authority(tls.ca, authority)
        chain = _certificates("certificate file", tls.certificate)
        if len(chain) > MAX_CHAIN:
            raise FlowOptionError(
                f"the certificate file {tls.certificate} holds {len(chain)} certificates; "
                f"at most {MAX_CHAIN} can be sent: leave out the authority"
            )
        _check_party(tls.certificate, chain[0], now)
        key = _key(tls.key)
        signature = sign(key, b"")
        if not is_signed(chain[0].public_key(), signature, b""):
            raise FlowOptionError(
                f"the key {tls.key} does not belong to the first certificate in "
                f"{tls.certificate}: give the key that it was made for"
            )
        return cls(authorities, chain, key, len(signature))


def _certificates(what: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(read_file(what, path, MAX_FILE))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise FlowOptionError(
            f"the {what} {path} holds no certificates in PEM ({error}): "
            "it must have -----BEGIN CERTIFICATE-----"
        ) from error


def _check_authority(path: Path, certificate: x509.Certificate) -> None:
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority = limits.ca
        ed25519 = isinstance(certificate.public_key(), Ed25519PublicKey)
    except x509.ExtensionNotFound:
        is_authority = ed25519 = False
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FlowOptionError(f"a certificate in the CA file {path}: {error}") from error
    if not is_authority:
        raise FlowOptionError(
            f"the CA file {path} holds {certificate.subject.rfc4514_string()}, which is no "
            "authority: make it with basicConstraints=CA:TRUE, or leave it out"
        )
    if ed25519:
        raise FlowOptionError(
            f"the authority in the CA file {path} has an Ed25519 key: only parties can have "
            "those; make it with ECDSA or RSA"
        )


def _check_party(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    try:
        if certificate.version is not x509.Version.v3:
            raise FlowOptionError(
                f"the certificate in {path} is of version 1: sign it with extensions "
                "(openssl x509 -req -extfile), which makes it version 3"
            )
        reason = weakness(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FlowOptionError(f"the certificate in {path}: {error}") from error
    if reason:
        raise FlowOptionError(f"the certificate in {path} cannot be used: {reason}")
    if now > certificate.not_valid_after_utc:
        raise FlowOptionError(
            f"the certificate in {path} expired on {certificate.not_valid_after_utc}: renew it"
        )
    if now < certificate.not_valid_before_utc:
        raise FlowOptionError(
            f"the certificate in {path} is not valid before {certificate.not_valid_before_utc}: "
            "set the clock of this machine"
        )


def _key(path: Path) -> PrivateKey:
    data = read_file("key file", path, MAX_FILE)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise FlowOptionError(
            f"the key {path} has a password, which nobody is there to enter: "
            "store it without (openssl pkey), readable by its owner only"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FlowOptionError(
            f"the key file {path} holds no private key in PEM: it must have -----BEGIN PRIVATE KEY"
        ) from error
    if not isinstance(key, PrivateKey):
        raise FlowOptionError(f"the key {path} is neither Ed25519, nor ECDSA, nor RSA: make one")
    return key
