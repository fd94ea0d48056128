"""Transfer syntaxes on the web (PS3.18 §8.7.3)."""

from __future__ import annotations

import re
from typing import Final

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+){0,63}", re.ASCII)
"""PS3.5 §9.1, of any length."""

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
"""The default of what is sent."""

RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"

COMPRESSED_TARGETS: Final = (
    JPEG_LOSSLESS_SV1,
    RLE_LOSSLESS,
    JPEG_LS_LOSSLESS,
    JPEG_2000_LOSSLESS,
)
"""Syntaxes that images are compressed into when asked for, in the order of PS3.18 Table 8.7.3-5.

They lose nothing, and each is what its media type means without a transfer syntax.
"""

NOT_ON_THE_WEB: Final = frozenset(
    {
        "",  # the object has no file meta, or one that is wrong
        "1.2.840.10008.1.2",  # Implicit VR Little Endian
        "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    }
)
"""Stored syntaxes that leave as Explicit VR Little Endian (PS3.18 §8.7.3.4)."""

# PS3.18 §8.7.3.4: what was compressed with loss is given as stored when nothing is asked for.
LOSSY: Final = frozenset(
    {
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.93",
        "1.2.840.10008.1.2.4.100",
        "1.2.840.10008.1.2.4.100.1",
        "1.2.840.10008.1.2.4.101",
        "1.2.840.10008.1.2.4.101.1",
        "1.2.840.10008.1.2.4.102",
        "1.2.840.10008.1.2.4.102.1",
        "1.2.840.10008.1.2.4.103",
        "1.2.840.10008.1.2.4.103.1",
        "1.2.840.10008.1.2.4.104",
        "1.2.840.10008.1.2.4.104.1",
        "1.2.840.10008.1.2.4.105",
        "1.2.840.10008.1.2.4.105.1",
        "1.2.840.10008.1.2.4.106",
        "1.2.840.10008.1.2.4.106.1",
        "1.2.840.10008.1.2.4.107",
        "1.2.840.10008.1.2.4.108",
        "1.2.840.10008.1.2.4.111",
        "1.2.840.10008.1.2.4.112",
        "1.2.840.10008.1.2.4.203",
    }
)


def is_transfer_syntax(text: str) -> bool:
    """Whether a text can be the UID of a transfer syntax, so that headers may have it."""
    return _UID.fullmatch(text) is not None


def on_the_web(stored: str) -> str:
    """Give the transfer syntax in which an object leaves that is asked for as stored."""
    return EXPLICIT_VR_LITTLE_ENDIAN if stored in NOT_ON_THE_WEB else stored
