"""How rows are made small: texts deflated with what is known of them beforehand.

DynamoDB bills a write by the started kilobyte, so an ordinary instance item is held below one.
Everything deflated is in the zlib format (RFC 1950), whose checksums of both the dictionary and
the text refuse an item that another's UIDs are taken for.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final

from dicomulus.errors import CorruptFragmentError

COMMON_TEXT: Final = (
    b'["1.2.840.10008.5.1.4.1.1.481.3","1.2.840.10008.5.1.4.1.1.88.","1.2.840.10008.5.1.4.1.1.66.4"'
    b'"1.2.840.10008.5.1.4.1.1.7","1.2.840.10008.5.1.4.1.1.77.1.6","1.2.840.10008.5.1.4.1.1.1.1"'
    b'"1.2.840.10008.5.1.4.1.1.128","1.2.840.10008.5.1.4.1.1.6.1","1.2.840.10008.5.1.4.1.1.1.2"'
    b'"1.2.840.10008.5.1.4.1.1.2.1","1.2.840.10008.5.1.4.1.1.4.1","1.2.840.10008.5.1.4.1.1.4"'
    b'"1.2.840.10008.1.2.5","1.2.840.10008.1.2","1.2.840.10008.1.2.2","1.2.840.10008.1.2.4.50"'
    b'"1.2.840.10008.1.2.4.57","1.2.840.10008.1.2.4.70","1.2.840.10008.1.2.4.80"'
    b'"1.2.840.10008.1.2.4.90","1.2.840.10008.1.2.4.91","1.2.840.10008.1.2.4.201"]'
    b'{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00080020":{"vr":"DA","Value":["20'
    b'"]},"00080021":{"vr":"DA"},"00080030":{"vr":"TM","Value":["1'
    b'"]},"00080031":{"vr":"TM"},"00080050":{"vr":"SH","Value":["'
    b'"]},"00080056":{"vr":"CS","Value":["ONLINE"]},"00080060":{"vr":"CS","Value":["CT"]},'
    b'"00080061":{"vr":"CS","Value":["MR"]},"00080070":{"vr":"LO","Value":["SIEMENS"]},'
    b'"00080080":{"vr":"LO","Value":["Hospital"]},"00080090":{"vr":"PN","Value":[{"Alphabetic":"'
    b'"}]},"00081010":{"vr":"SH"},"00081030":{"vr":"LO"},"0008103E":{"vr":"LO","Value":["'
    b'"]},"00081090":{"vr":"LO","Value":["'
    b'"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"'
    b'"}]},"00100020":{"vr":"LO","Value":["'
    b'"]},"00100030":{"vr":"DA","Value":["19"]},"00100040":{"vr":"CS","Value":["F"]},'
    b'"00101010":{"vr":"AS","Value":["0"]},"00101020":{"vr":"DS"},"00101030":{"vr":"DS"},'
    b'"00180015":{"vr":"CS","Value":["'
    b'"]},"00181000":{"vr":"LO"},"00181020":{"vr":"LO"},"00181030":{"vr":"LO"},'
    b'"00185100":{"vr":"CS","Value":["HFS"]},"0020000D":{"vr":"UI","Value":["'
    b'"]},"0020000E":{"vr":"UI","Value":["'
    b'"]},"00200010":{"vr":"SH","Value":["'
    b'"]},"00200011":{"vr":"IS","Value":[1]},"00200052":{"vr":"UI","Value":["'
    b'"]},"00201206":{"vr":"IS","Value":[1]},"00201208":{"vr":"IS","Value":[1'
    b']},"00201209":{"vr":"IS","Value":[1'
    b']},"00400244":{"vr":"DA","Value":["20'
    b'"]},"00400245":{"vr":"TM","Value":["'
    b'"]},"00400275":{"vr":"SQ","Value":[{'
    b'["1.2.840.10008.5.1.4.1.1.2","1.2.840.10008.1.2.1",1'
    b',{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},'
    b'"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["'
    b'"]},"00080056":{"vr":"CS","Value":["ONLINE"]},"00081190":{"vr":"UR","Value":["'
    b'"]},"00083002":{"vr":"UI","Value":["1.2.840.10008.1.2.1"]},"00200013":{"vr":"IS","Value":[1'
    b']},"00280008":{"vr":"IS","Value":[1]},"00280010":{"vr":"US","Value":[512]},'
    b'"00280011":{"vr":"US","Value":[512]},"00280100":{"vr":"US","Value":[16]}}'
)
"""What the texts of rows have in common. Items are unreadable under any other value of it."""

_LEVEL: Final = 9
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")
_ALGORITHMS: Final = {"": 1, "sha256:": 2, "crc64nvme:": 3, "sha1:": 4, "md5:": 5}
_PREFIXES: Final = {code: prefix for prefix, code in _ALGORITHMS.items()}
_TEXT: Final = 0
_DEFLATED: Final = b"\x01"
_STORED: Final = b"\x00"


def pack_text(text: str) -> bytes:
    """Write a text of hexadecimal digits, with or without algorithm, in half its length."""
    algorithm, colon, digits = text.rpartition(":")
    code = _ALGORITHMS.get(algorithm + colon)
    if code is None or not _HEX.fullmatch(digits):
        return bytes([_TEXT]) + text.encode()
    return bytes([code]) + bytes.fromhex(digits)


def unpack_text(packed: bytes) -> str:
    """Read what ``pack_text`` wrote."""
    if packed[0] == _TEXT:
        return packed[1:].decode()
    return _PREFIXES[packed[0]] + packed[1:].hex()


def deflate_known(text: bytes, known: str) -> bytes:
    """Deflate a text; ``known`` is what of it the reader will know beforehand."""
    stream = zlib.compressobj(_LEVEL, zdict=COMMON_TEXT + known.encode())
    return stream.compress(text) + stream.flush()


def inflate_known(packed: bytes, known: str) -> bytes:
    """Inflate what ``deflate_known`` deflated.

    Raises:
        CorruptFragmentError: It was deflated with something else known, or is damaged.
    """
    stream = zlib.decompressobj(zdict=COMMON_TEXT + known.encode())
    try:
        text = stream.decompress(packed)
    except zlib.error as exc:
        raise CorruptFragmentError("an item does not inflate") from exc
    if not stream.eof:
        raise CorruptFragmentError("an item ends early")
    return text


def deflate(content: bytes) -> bytes:
    """Deflate bytes of which nothing is known, unless that makes them longer."""
    deflated = zlib.compress(content, _LEVEL)
    return _DEFLATED + deflated if len(deflated) < len(content) else _STORED + content


def inflate(packed: bytes) -> bytes:
    """Inflate what ``deflate`` deflated.

    Raises:
        CorruptFragmentError: It is damaged.
    """
    if packed[:1] == _STORED:
        return packed[1:]
    try:
        return zlib.decompress(packed[1:])
    except zlib.error as exc:
        raise CorruptFragmentError("an item does not inflate") from exc


def join_sections(facts: list[Any], *texts: bytes) -> bytes:
    """Write small facts and texts as one, so that they are deflated together.

    Null facts at the end are left out.
    """
    lengths = [len(text) for text in texts[:-1]]
    said = len(facts)
    while said and facts[said - 1] is None:
        said -= 1
    head = json.dumps([*lengths, *facts[:said]], ensure_ascii=False, separators=(",", ":"))
    return head.encode() + b"\n" + b"".join(texts)


def split_sections(content: bytes, *, facts: int, texts: int) -> tuple[list[Any], list[bytes]]:
    """Read what ``join_sections`` wrote; facts that were left out are null."""
    # JSON escapes line feeds, so the first one ends the facts.
    head, _, rest = content.partition(b"\n")
    values = json.loads(head)
    lengths, values = values[: texts - 1], values[texts - 1 :]
    sections = []
    for length in lengths:
        sections.append(rest[:length])
        rest = rest[length:]
    return values + [None] * (facts - len(values)), [*sections, rest]
