"""Sealing what passes between machines: nobody else can read it, or change it unnoticed.

::

    +---------------+-------------+----------------------+----------+
    | salt 16 bytes | counter 8   | ciphertext           | tag 16   |
    +---------------+-------------+----------------------+----------+

AES-256-GCM breaks when two messages under one key have the same nonce. A nonce of 96 bits is too
short to be drawn at random by many senders: with 4 random bytes and a counter, two senders of
the same key meet after some 2^16 of them (the birthday bound), and both count from zero. So each
sender draws a salt of 128 bits and derives a key of its own (HKDF); the nonce is then a counter
alone, and senders meet after some 2^64. That costs 12 bytes a message, and one derivation for
each new sender.

Source: NIST SP 800-38D, section 8.2; RFC 5869.
"""

import itertools
import os
import secrets
from collections.abc import Iterator
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from eventgraph.flows.errors import AuthenticationError, BlockTooLargeError, FlowOptionError

KEY_SIZE: Final = 32  # bytes
OVERHEAD: Final = 16 + 8 + 16  # bytes that a sealed message is longer
MAX_DATA: Final = 1 << 30  # bytes; what a transport carries at most. AES-GCM: under 2^36
MAX_SENDERS: Final = 64  # keys that are kept; another sender's is derived again
_SALT: Final = 16  # bytes
_COUNTER: Final = 8
_HEADER: Final = _SALT + _COUNTER
_NONCE: Final = 12
_INFO: Final = b"eventgraph flows sealing 1\0"

Buffer = bytes | bytearray | memoryview


class _Sending(NamedTuple):
    """One sender: replaced as a whole, so that no thread sees a salt with another's count."""

    process: int
    salt: bytes
    cipher: AESGCM
    counter: Iterator[int]


class Sealer:
    """Seals, and unseals what another of the same key and label has sealed. Safe between threads.

    A message can be heard and sent again by anybody: what must not happen twice has a number in
    its context. Let each direction have a label, so that none can be sent back.

    Args:
        key: 32 bytes, as `Authentication.channel_key`.
        label: what it is used for; sealers of other labels cannot unseal.
    Raises:
        FlowOptionError: the key has another size.
    """

    __slots__ = ("_key", "_label", "_senders", "_sending")

    def __init__(self, key: bytes, label: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise FlowOptionError(f"a key to seal with has {KEY_SIZE} bytes, not {len(key)}")
        self._key = bytes(key)
        self._label = bytes(label)
        self._senders: dict[bytes, AESGCM] = {}
        self._sending = self._start()

    def seal(self, data: Buffer, context: bytes = b"") -> bytearray:
        """Encrypt a message.

        Args:
            context: what the receiver knows already, and must be the same there; is not sent.
        Returns:
            `OVERHEAD` bytes more than the data; in a buffer that it was encrypted into, since
            a copy takes longer than to encrypt it.
        Raises:
            BlockTooLargeError: the data have more than `MAX_DATA` bytes.
        """
        plain = memoryview(data).cast("B")
        if plain.nbytes > MAX_DATA:
            raise BlockTooLargeError(
                f"{plain.nbytes} bytes cannot be sealed at once; at most {MAX_DATA}"
            )
        sending = self._sending
        if sending.process != os.getpid():  # a fork: the other process goes on counting
            sending = self._sending = self._start()
        sealed = bytearray(plain.nbytes + OVERHEAD)
        count = next(sending.counter).to_bytes(_COUNTER, "big")
        sealed[:_HEADER] = sending.salt + count
        with memoryview(sealed) as view:
            sending.cipher.encrypt_into(_nonce(count), plain, context, view[_HEADER:])
        return sealed

    def unseal(self, sealed: Buffer, context: bytes = b"") -> bytes:
        """Decrypt a message.

        Raises:
            AuthenticationError: it was not sealed with this key, label and context, or was
                changed on its way.
        """
        view = memoryview(sealed).cast("B")
        if not OVERHEAD <= view.nbytes <= OVERHEAD + MAX_DATA:
            raise AuthenticationError(f"{view.nbytes} bytes cannot be a sealed message")
        salt = bytes(view[:_SALT])
        cipher = self._senders.get(salt) or self._derive(salt)
        try:
            data = cipher.decrypt(_nonce(bytes(view[_SALT:_HEADER])), view[_HEADER:], context)
        except InvalidTag:
            raise AuthenticationError(
                "a message was not sealed with our key, or was changed on its way"
            ) from None
        # only now: who has no key must not push out those who have
        if salt not in self._senders:
            if len(self._senders) >= MAX_SENDERS:
                oldest = list(self._senders)[0]  # noqa: RUF015 - one step, for other threads
                self._senders.pop(oldest, None)
            self._senders[salt] = cipher
        return data

    def _start(self) -> "_Sending":
        salt = secrets.token_bytes(_SALT)
        return _Sending(os.getpid(), salt, self._derive(salt), itertools.count())

    def _derive(self, salt: bytes) -> AESGCM:
        hkdf = HKDF(SHA256(), KEY_SIZE, salt, _INFO + self._label)
        return AESGCM(hkdf.derive(self._key))


def _nonce(count: bytes) -> bytes:
    return count.rjust(_NONCE, b"\0")
