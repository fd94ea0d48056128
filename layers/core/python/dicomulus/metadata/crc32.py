"""CRC-32 of two joined texts from the CRC-32 of each (zlib's ``crc32_combine``)."""

from __future__ import annotations

from functools import cache
from typing import Final

_POLYNOMIAL: Final = 0xEDB88320
"""The CRC-32 of gzip, bits reversed (RFC 1952 §8)."""

_ONE: Final = 1 << 31
"""The polynomial 1, bits reversed."""


def combine(first: int, second: int, second_length: int) -> int:
    """Give the CRC-32 of A followed by B.

    Args:
        first: CRC-32 of A.
        second: CRC-32 of B.
        second_length: Bytes of B.
    """
    return _multiply(_shift(second_length), first) ^ second


def _multiply(left: int, right: int) -> int:
    """Multiply two polynomials modulo the CRC's."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = (right >> 1) ^ _POLYNOMIAL if right & 1 else right >> 1
    return product


@cache
def _doubled(exponent: int) -> int:
    """Give x to the power of two to the exponent."""
    if exponent == 0:
        return _ONE >> 1
    half = _doubled(exponent - 1)
    return _multiply(half, half)


def _shift(length: int) -> int:
    """Give x to the power of the bits in so many bytes."""
    product = _ONE
    exponent = 3
    while length:
        if length & 1:
            product = _multiply(_doubled(exponent), product)
        length >>= 1
        exponent += 1
    return product
