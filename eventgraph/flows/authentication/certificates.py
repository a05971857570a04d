"""Certificates: each party has its own, signed by an authority that all of them trust."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from eventgraph.flows.authentication.chain import MAX_CHAIN, check_chain, name_of, printable
from eventgraph.flows.authentication.credentials import Credentials
from eventgraph.flows.authentication.interface import MAX_PROOF, Authentication, Nonces, Side
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.authentication.signature import is_signed, sign, weakness
from eventgraph.flows.authentication.statement import statement
from eventgraph.flows.errors import AuthenticationError, FlowOptionError
from eventgraph.pipes.transport import Tls


class CertificateProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is sent: certificates in DER, the own one first, and a signature by its key."""

    chain: Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=MAX_CHAIN)]
    signature: bytes


_DECODER: Final = msgspec.msgpack.Decoder(CertificateProof)


def utc_now() -> datetime:
    """What the clock of the machine shows."""
    return datetime.now(UTC)


class Certificates(Authentication):
    """A signature over the nonces by the key of a certificate of our authority.

    It shows who is at the other end, not that nobody stands between: another party of the same
    authority could pass the proofs on. Between machines mutual TLS sees to that, and seals.

    Args:
        tls: the files; read once.
        clock: what time it is, with a time zone.
    Raises:
        FlowOptionError: a file cannot be used; says which, and what to do.
    """

    name = "certificates"

    def __init__(self, tls: Tls, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        credentials = Credentials.read(tls, clock())
        self._authorities: Sequence[x509.Certificate] = credentials.authorities
        self._key = credentials.key
        self._chain = [one.public_bytes(Encoding.DER) for one in credentials.chain]
        if len(self._encode(bytes(credentials.signature_size))) > MAX_PROOF:
            raise FlowOptionError(
                f"the certificates in {tls.certificate} are too large to be sent: "
                "keep those between the party and its authority, without the authority itself"
            )

    @classmethod
    def from_options(cls, options: AuthenticationOptions) -> Self:
        """Make one.

        Raises:
            FlowOptionError: the files are not given, or cannot be used.
        """
        if options.secret_file is not None:
            raise FlowOptionError(
                "a secret file is given, but 'certificates' is to authenticate: leave out one"
            )
        if options.tls is None:
            raise FlowOptionError(
                "to authenticate by 'certificates', give the files of the authority, "
                "the certificate and its key"
            )
        return cls(options.tls)

    def prove(self, side: Side, nonces: Nonces) -> bytes:
        return self._encode(sign(self._key, statement(self.name, side, nonces)))

    def verify(self, side: Side, nonces: Nonces, proof: bytes) -> str:
        try:
            return self._verify(side, nonces, proof)
        except AuthenticationError as error:
            raise AuthenticationError(f"the {side} could not prove itself: {error}") from error
        except Exception as error:
            # the library reads lazily, and does not list what it raises on a broken certificate
            raise AuthenticationError(
                f"the {side} could not prove itself: "
                f"its certificate cannot be read: {printable(str(error))}"
            ) from error

    def _verify(self, side: Side, nonces: Nonces, proof: bytes) -> str:
        if len(proof) > MAX_PROOF:
            raise AuthenticationError(f"the proof has more than {MAX_PROOF} bytes")
        try:
            sent = _DECODER.decode(proof)
        except (msgspec.DecodeError, RecursionError) as error:
            raise AuthenticationError(f"the proof is no certificates: {error}") from error
        chain = [x509.load_der_x509_certificate(one) for one in sent.chain]
        check_chain(self._authorities, side, chain, self._clock())
        key = chain[0].public_key()
        if reason := weakness(key):
            raise AuthenticationError(reason)
        if not is_signed(key, sent.signature, statement(self.name, side, nonces)):
            raise AuthenticationError(
                "the signature is not by the key of its certificate, or not for this connection"
            )
        return name_of(chain[0])

    def channel_key(self, nonces: Nonces) -> bytes | None:
        return None

    @property
    def needs_secure_transport(self) -> bool:
        return True

    def _encode(self, signature: bytes) -> bytes:
        return msgspec.msgpack.encode(CertificateProof(self._chain, signature))
