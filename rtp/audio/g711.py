"""G.711: PCMU (mu-law) and PCMA (A-law), through numpy tables.

Decoding is exact by the tables 1a-2b of ITU-T G.711. Encoding takes the nearest of the
levels that decoding knows; at a decision value, where two are as near, the louder one.
There implementations differ: this one agrees with ffmpeg on all 65,536 samples, while the
reference code of ITU-T G.191 takes the quieter one of a negative tie (964 samples).

A block of 160 samples (20 ms) takes about a microsecond either way.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_SIGN: Final = 0x80
_CODES = np.arange(256, dtype=np.int32)
# Codes are sent with bits inverted, so that silence has many ones: all bits of
# mu-law, the even ones (and the sign) of A-law. XOR with it gives sign and magnitude.
_PCMU_MASK: Final = 0xFF
_PCMA_MASK: Final = 0xD5


def _pcmu_levels() -> Samples:
    code = _CODES ^ _PCMU_MASK
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = ((mantissa << 3) + 132 << exponent) - 132  # 132: the bias, 33 in 14 bits
    return np.where(code & _SIGN, -magnitude, magnitude).astype(np.int16)


def _pcma_levels() -> Samples:
    code = _CODES ^ _PCMA_MASK
    exponent, mantissa = (code >> 4) & 7, code & 15
    linear = (mantissa << 4) + 8  # segments 0 and 1 have the same step
    magnitude = np.where(exponent == 0, linear, linear + 256 << np.maximum(exponent - 1, 0))
    return np.where(code & _SIGN, -magnitude, magnitude).astype(np.int16)


def _codes_by_sample(levels: Samples, mask: int) -> NDArray[np.uint8]:
    """Code of each 16-bit sample, at the index that the sample has as an unsigned number."""
    rising = levels[np.arange(128) ^ mask].astype(np.int32)
    # G.711 is defined on 14 bits: the two lowest of a 16-bit sample do not count.
    decisions = rising[:-1] + rising[1:] + 4 >> 3
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitudes = np.searchsorted(decisions, np.abs(samples), side="right")
    codes = magnitudes ^ mask
    signed: NDArray[np.uint8] = np.where(samples < 0, codes ^ _SIGN, codes).astype(np.uint8)
    return signed


_PCMU_LEVELS = _pcmu_levels()
_PCMA_LEVELS = _pcma_levels()
_PCMU_CODES = _codes_by_sample(_PCMU_LEVELS, _PCMU_MASK)
_PCMA_CODES = _codes_by_sample(_PCMA_LEVELS, _PCMA_MASK)


def _encode(samples: Samples, codes: NDArray[np.uint8]) -> bytes:
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(
            f"samples are {samples.ndim}-dimensional {samples.dtype}: pass a flat array of int16"
        )
    return codes[samples.view(np.uint16)].tobytes()


def decode_pcmu(payload: bytes) -> Samples:
    """Decode mu-law: n octets give n samples of int16 (full scale 32124)."""
    return _PCMU_LEVELS[np.frombuffer(payload, np.uint8)]


def decode_pcma(payload: bytes) -> Samples:
    """Decode A-law: n octets give n samples of int16 (full scale 32256)."""
    return _PCMA_LEVELS[np.frombuffer(payload, np.uint8)]


def encode_pcmu(samples: Samples) -> bytes:
    """Encode a flat array of n int16 samples as n octets of mu-law.

    Raises:
        ValueError: another shape or type.
    """
    return _encode(samples, _PCMU_CODES)


def encode_pcma(samples: Samples) -> bytes:
    """Encode a flat array of n int16 samples as n octets of A-law.

    Raises:
        ValueError: another shape or type.
    """
    return _encode(samples, _PCMA_CODES)
