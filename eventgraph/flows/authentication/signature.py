"""Signatures by the keys that certificates have: Ed25519, ECDSA, RSA-PSS."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

MIN_CURVE: Final = 256  # bits; as strong as a hash of 32 bytes
MIN_MODULUS: Final = 2048  # bits; NIST SP 800-131A
_HASH: Final = SHA256()
_PSS: Final = padding.PSS(padding.MGF1(_HASH), padding.PSS.DIGEST_LENGTH)


def weakness(key: object) -> str | None:
    """Why a public key cannot be used for signatures; None if it can."""
    match key:
        case Ed25519PublicKey():
            return None
        case EllipticCurvePublicKey():
            if key.key_size < MIN_CURVE:
                return f"its curve {key.curve.name} has less than {MIN_CURVE} bits"
        case RSAPublicKey():
            if key.key_size < MIN_MODULUS:
                return f"its RSA key of {key.key_size} bits has less than {MIN_MODULUS}"
        case _:
            return "its key is neither Ed25519, nor ECDSA, nor RSA"
    return None


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Sign with SHA-256, or as Ed25519 does."""
    match key:
        case Ed25519PrivateKey():
            return key.sign(message)
        case EllipticCurvePrivateKey():
            return key.sign(message, ECDSA(_HASH))
        case _:
            return key.sign(message, _PSS, _HASH)


def is_signed(key: object, signature: bytes, message: bytes) -> bool:
    """Whether the owner of this public key has signed that; False for keys of other kinds."""
    try:
        match key:
            case Ed25519PublicKey():
                key.verify(signature, message)
            case EllipticCurvePublicKey():
                key.verify(signature, message, ECDSA(_HASH))
            case RSAPublicKey():
                key.verify(signature, message, _PSS, _HASH)
            case _:
                return False
    except InvalidSignature:
        return False
    return True
