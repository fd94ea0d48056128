"""The keys of what the archive itself keeps in the storage area beside DICOM objects."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_id import Level, level_of
from dicomulus.dicom.resource import PatientResource, SeriesResource, resource_of, uids_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.resource import Resource

OWN_PREFIX: Final = "dicomulus/"
"""What the keys of all that is the archive's own begin with; nothing under it is a DICOM object."""

DOCUMENT_PREFIX: Final = "dicomulus/resources/"
"""What the keys of the documents of resources begin with."""

ATTACHMENT_PREFIX: Final = "dicomulus/attachments/"
"""What the keys of the contents of attachments begin with."""

DELETION_PREFIX: Final = "dicomulus/deletions/"
"""What the keys of notes of deletions begin with."""

PROBE_SERIES: Final = SeriesResource(
    "2.25.161416334556896769402319194145104037845",
    "2.25.310989323114520293961348515413295222083",
)
"""The series of what the archive puts to see that it is answered."""

_DOCUMENT_KEY: Final = re.compile(
    r"dicomulus/resources/([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{60}\.json"
)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_own_key(object_key: str) -> bool:
    """Whether a key is of something that is the archive's own, and so is no DICOM object."""
    return object_key.startswith(OWN_PREFIX)


def names_of(resource: Resource) -> tuple[str, ...]:
    """Give what names a resource within its level: a Patient ID, or UIDs from the study down."""
    return (resource.patient_id,) if isinstance(resource, PatientResource) else uids_of(resource)


def resource_of_level(level: str, names: Sequence[str]) -> Resource:
    """Give the resource of a level that has these names.

    Raises:
        ValueError: There is no such level, or it takes another number of names.
    """
    place = tuple(Level).index(Level(level))
    if len(names) != max(1, place):
        raise ValueError(f"{level}: {len(names)} names")
    return resource_of(names) if place else PatientResource(names[0])


def document_key(resource: Resource) -> str:
    """Give the key of the document of a resource."""
    # Names are any text, so the key has their hash; the document itself says of what it is.
    named = json.dumps([level_of(resource), *names_of(resource)])
    digest = hashlib.sha256(named.encode()).hexdigest()
    return f"{DOCUMENT_PREFIX}{digest[:2]}/{digest[2:4]}/{digest}.json"


def is_document_key(object_key: str) -> bool:
    """Whether a key is one that the document of a resource may have."""
    return _DOCUMENT_KEY.fullmatch(object_key) is not None


def has_rows(object_key: str) -> bool:
    """Whether the index has, or may come to have, rows of what lies under a key."""
    return not is_own_key(object_key) or is_document_key(object_key)


def attachment_key(uuid: str) -> str:
    """Give the key of the content of an attachment.

    Raises:
        ValueError: That is no UUID in its usual form.
    """
    if _UUID.fullmatch(uuid) is None:
        raise ValueError("not a UUID")
    return f"{ATTACHMENT_PREFIX}{uuid[:2]}/{uuid[2:4]}/{uuid}"


def attachment_of_key(object_key: str) -> str | None:
    """Give the UUID of the attachment whose content lies under a key; none for other keys."""
    uuid = object_key.rpartition("/")[2]
    is_one = _UUID.fullmatch(uuid) is not None and attachment_key(uuid) == object_key
    return uuid if is_one else None
