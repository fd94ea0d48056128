"""UUIDs of attachments, which tell what they belong to.

Half of the UUID of a content is the beginning of the name of its resource's document, the other
half is random (RFC 9562 §5.8). So for any content the document is found that would name it, with
nothing kept of it anywhere else.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.own_keys import DOCUMENT_PREFIX, document_key

if TYPE_CHECKING:
    from dicomulus.dicom.resource import Resource

_OWN_VERSION: Final = "8"
_NAMED_VERSION: Final = "5"
_NAME_DIGITS: Final = 15
"""Hexadecimal digits of a document's name that lie in a UUID."""


def new_content_uuid(resource: Resource) -> str:
    """Give the UUID of a content that is about to be put to a resource."""
    name = document_key(resource).rpartition("/")[2]
    return _uuid(name[:_NAME_DIGITS] + secrets.token_hex(8), _OWN_VERSION)


def object_uuid(object_key: str, etag: str) -> str:
    """Give the UUID of a DICOM object, one generation of it, as an attachment."""
    named = f"{object_key}\0{etag}".encode()
    return _uuid(hashlib.sha256(named).hexdigest(), _NAMED_VERSION)


def documents_of(uuid: str) -> str | None:
    """Give what the key of the document begins with that names a content, if it is of any.

    Of a UUID that was made elsewhere nothing is known.
    """
    if uuid[14] != _OWN_VERSION:
        return None
    name = uuid[:8] + uuid[9:13] + uuid[15:18]
    return f"{DOCUMENT_PREFIX}{name[:2]}/{name[2:4]}/{name}"


def _uuid(digits: str, version: str) -> str:
    variant = f"{int(digits[15], 16) & 0x3 | 0x8:x}"
    return (
        f"{digits[:8]}-{digits[8:12]}-{version}{digits[12:15]}"
        f"-{variant}{digits[16:19]}-{digits[19:31]}"
    )
