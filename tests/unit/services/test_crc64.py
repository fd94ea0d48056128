"""CRC-64/NVME as S3 makes it."""

from __future__ import annotations

import random

import pytest

from dicomulus.services.crc64 import PIECE_BYTES, POLYNOMIAL, Crc64Nvme


def crc64(*pieces: bytes) -> str:
    made = Crc64Nvme()
    for piece in pieces:
        made.update(piece)
    return made.hexdigest()


def bit_by_bit(data: bytes) -> str:
    """Divide as it is defined: the message's first bit is its highest term."""
    register = 2**64 - 1
    for byte in data:
        for place in range(8):
            bit = register >> 63 ^ byte >> place & 1
            register = (register << 1 & 2**64 - 1) ^ (POLYNOMIAL if bit else 0)
    return f"{int(f'{register:064b}'[::-1], 2) ^ 2**64 - 1:016x}"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "0000000000000000"), (b"123456789", "ae8b14860a799888")],
)
def test_known_values(content: bytes, told: str) -> None:
    """The check value of the catalogue of parametrised CRC algorithms."""
    assert crc64(content) == told


@pytest.mark.parametrize("length", [1, 7, 8, 63, 64, 65, 66, 127, 129, 1_000, 4_097])
def test_any_length_is_as_the_definition_says(length: int) -> None:
    content = random.Random(length).randbytes(length)
    assert crc64(content) == bit_by_bit(content)


def test_it_does_not_depend_on_where_the_bytes_are_cut() -> None:
    content = random.Random(1).randbytes(2 * PIECE_BYTES + 77)
    assert crc64(content) == crc64(content[:5], b"", content[5:70_000], content[70_000:])


def test_any_flipped_bit_is_another_sum() -> None:
    content = bytearray(random.Random(2).randbytes(PIECE_BYTES))
    sums = {crc64(bytes(content))}
    for place in range(0, 8 * len(content), 8_191):
        content[place // 8] ^= 1 << place % 8
        sums.add(crc64(bytes(content)))
        content[place // 8] ^= 1 << place % 8
    assert len(sums) == 1 + len(range(0, 8 * len(content), 8_191))
