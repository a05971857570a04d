"""A secret that all parties share: each shows that it knows it, without saying it."""

import hmac
from pathlib import Path
from typing import Final, Self

from eventgraph.flows.authentication.files import read_file
from eventgraph.flows.authentication.interface import Authentication, Nonces, Side
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.authentication.statement import statement
from eventgraph.flows.errors import AuthenticationError, FlowOptionError

MIN_SECRET: Final = 16  # bytes; 128 bits, if they are random
MAX_SECRET: Final = 4096  # bytes
KEY_SIZE: Final = 32  # bytes of the key of a channel
_DIGEST: Final = "sha256"
_CHANNEL: Final = b"eventgraph flows channel 1"


class SharedSecret(Authentication):
    """HMAC-SHA256 over the nonces; what passes between machines is sealed with a key from it.

    The secret must be random bytes, or their text, and no password: who hears a proof can try
    passwords on it, as often as he likes. ``openssl rand -hex 32`` makes one.

    Args:
        secret: `MIN_SECRET` to `MAX_SECRET` bytes.
    Raises:
        FlowOptionError: it is too short or too long.
    Source: RFC 2104 (HMAC), RFC 5869 (HKDF).
    """

    name = "secret"

    def __init__(self, secret: bytes) -> None:
        if not MIN_SECRET <= len(secret) <= MAX_SECRET:
            raise FlowOptionError(
                f"the secret has {len(secret)} bytes; it must be {MIN_SECRET} to {MAX_SECRET} "
                "random ones: make it with openssl rand -hex 32"
            )
        self._secret = bytes(secret)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the secret; one newline at its end does not belong to it.

        Raises:
            FlowOptionError: it cannot be read, others can read it, or it is no secret.
        """
        # room for the newline, so that the length is judged without it
        text = read_file("secret file", path, MAX_SECRET + 1, private=True)
        try:
            return cls(text.removesuffix(b"\n"))
        except FlowOptionError as error:
            raise FlowOptionError(f"{path}: {error}") from None

    @classmethod
    def from_options(cls, options: AuthenticationOptions) -> Self:
        """Make one.

        Raises:
            FlowOptionError: no secret file is given, or as `from_file`.
        """
        if options.secret_file is None:
            raise FlowOptionError("to authenticate by 'secret', give the file that holds it")
        return cls.from_file(options.secret_file)

    def prove(self, side: Side, nonces: Nonces) -> bytes:
        return hmac.digest(self._secret, statement(self.name, side, nonces), _DIGEST)

    def verify(self, side: Side, nonces: Nonces, proof: bytes) -> str:
        if not hmac.compare_digest(self.prove(side, nonces), proof):
            raise AuthenticationError(f"the {side} could not prove itself: wrong secret")
        return "who knows the secret"

    def channel_key(self, nonces: Nonces) -> bytes:
        # here, so that who stays on one machine needs no cryptography
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        salt = nonces.client + nonces.server
        return HKDF(SHA256(), KEY_SIZE, salt, _CHANNEL).derive(self._secret)

    @property
    def needs_secure_transport(self) -> bool:
        return False
