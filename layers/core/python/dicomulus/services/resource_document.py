"""The document of a resource: its attachments, its metadata and its labels, as one JSON object.

It lies in the storage area beside the objects, and is the truth of what it tells. Whatever is
read is held to its checksum and its form; a reader is never given less than was written.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dicomulus.dicom.labels import is_label
from dicomulus.dicom.orthanc_id import level_of
from dicomulus.dicom.own_keys import names_of, resource_of_level
from dicomulus.errors import DamagedDocumentError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.dicom.resource import Resource

T = TypeVar("T")
E = TypeVar("E", "MetadataEntry", "AttachmentEntry", "Gone")

MAX_DOCUMENT_BYTES: Final = 262_144
"""Bytes of a document: the index has it as well, in an item of at most 400 KB (DynamoDB)."""

MAX_LABELS: Final = 1_000
"""Labels of one resource."""

MAX_GONE: Final = 1_000
"""Numbers of one kind whose last revision is kept after their deletion: the newest ones."""

MAX_NUMBER: Final = 65_535
"""The highest number of a kind of attachment or metadata, as Orthanc has them."""

FIRST_USER_NUMBER: Final = 1024
"""The lowest number that is the users' own."""

_FORMAT: Final = 1
_MOST: Final = 2**53
"""More bytes, milliseconds and revisions than there are; no index takes numbers of any length."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOTHING: Final[Mapping[int, Any]] = MappingProxyType({})
_SEAL: Final = re.compile(rb',"sha256":"([0-9a-f]{64})"\}\n')
_SEAL_BYTES: Final = len(b',"sha256":""}\n') + 64
_MEMBERS: Final = frozenset(
    {
        "format",
        "level",
        "names",
        "version",
        "write",
        "attachments",
        "metadata",
        "labels",
        "gone_attachments",
        "gone_metadata",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataEntry:
    """One value of metadata, and how often it was replaced."""

    value: str
    revision: int
    version: int = 0
    """Of the document that it came with; 0 while that is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentEntry:
    """One attachment: where its content is, and how it is kept there."""

    uuid: str
    revision: int = 0
    """How often it was replaced; given by the document that it is put in."""
    size: int
    """Bytes of what it holds, whether these are compressed where they lie or not."""
    md5: str
    """Their MD5, in hexadecimal."""
    stored_size: int
    """Bytes as they lie in the storage area."""
    stored_md5: str
    is_compressed: bool = False
    version: int = 0
    """As of ``MetadataEntry``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """What is left of something that was deleted: what comes after must not be taken for it."""

    revision: int
    version: int = 0
    """Of the document that it went with; 0 while that is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceDocument:
    """What is known of a resource beside its DICOM objects; one of version 0 was never written."""

    resource: Resource
    version: int = 0
    """Rises with every write; that of a document written anew is above any before."""
    write: str = ""
    """Names the write that made it, so that a writer knows its own."""
    attachments: Mapping[int, AttachmentEntry] = field(default_factory=lambda: _NOTHING)
    metadata: Mapping[int, MetadataEntry] = field(default_factory=lambda: _NOTHING)
    labels: frozenset[str] = frozenset()
    gone_attachments: Mapping[int, Gone] = field(default_factory=lambda: _NOTHING)
    """Those that were deleted, and are not there again."""
    gone_metadata: Mapping[int, Gone] = field(default_factory=lambda: _NOTHING)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left but revisions."""
        return not (self.attachments or self.metadata or self.labels)

    def with_metadata(self, number: int, value: str) -> ResourceDocument:
        """Put a value; its revision is one above the last one under the number, or 0."""
        last = self.metadata[number].revision if number in self.metadata else None
        entry = MetadataEntry(value=value, revision=_next(last, self.gone_metadata, number))
        return replace(
            self,
            metadata={**self.metadata, number: entry},
            gone_metadata=_without(self.gone_metadata, number),
        )

    def without_metadata(self, number: int) -> ResourceDocument:
        """Remove a value, if there is one."""
        if number not in self.metadata:
            return self
        gone = {**self.gone_metadata, number: Gone(revision=self.metadata[number].revision)}
        return replace(self, metadata=_without(self.metadata, number), gone_metadata=gone)

    def with_attachment(self, number: int, entry: AttachmentEntry) -> ResourceDocument:
        """Put an attachment; its revision is one above the last one under the number, or 0."""
        last = self.attachments[number].revision if number in self.attachments else None
        revision = _next(last, self.gone_attachments, number)
        entry = replace(entry, revision=revision, version=0)
        return replace(
            self,
            attachments={**self.attachments, number: entry},
            gone_attachments=_without(self.gone_attachments, number),
        )

    def without_attachment(self, number: int) -> ResourceDocument:
        """Remove an attachment, if there is one; its content is not touched."""
        if number not in self.attachments:
            return self
        entry = Gone(revision=self.attachments[number].revision)
        gone = {**self.gone_attachments, number: entry}
        return replace(self, attachments=_without(self.attachments, number), gone_attachments=gone)

    def stamped(self, version: int, write: str) -> ResourceDocument:
        """Give the version that it is written as to the document, and to what is new in it."""
        return replace(
            self,
            version=version,
            write=write,
            attachments=_stamped(self.attachments, version),
            metadata=_stamped(self.metadata, version),
            gone_attachments=_newest(_stamped(self.gone_attachments, version)),
            gone_metadata=_newest(_stamped(self.gone_metadata, version)),
        )

    def with_label(self, label: str) -> ResourceDocument:
        """Put a label."""
        return replace(self, labels=self.labels | {label})

    def without_label(self, label: str) -> ResourceDocument:
        """Remove a label, if it is there."""
        return replace(self, labels=self.labels - {label})


def _next(last: int | None, gone: Mapping[int, Gone], number: int) -> int:
    if last is None and number in gone:
        last = gone[number].revision
    return 0 if last is None else last + 1


def _stamped(entries: Mapping[int, E], version: int) -> dict[int, E]:
    return {
        number: entry if entry.version else replace(entry, version=version)
        for number, entry in entries.items()
    }


def _newest(gone: Mapping[int, Gone]) -> dict[int, Gone]:
    """Leave out what went long before others, lest it take the room of what is there."""
    by_version = sorted(gone.items(), key=lambda item: item[1].version)
    return dict(by_version[-MAX_GONE:])


def _without(entries: Mapping[int, T], number: int) -> dict[int, T]:
    return {each: entry for each, entry in entries.items() if each != number}


# --- the text ------------------------------------------------------------------------------------


def format_document(document: ResourceDocument) -> bytes:
    """Write a document: one JSON object on one line, the last member a SHA-256 of what is before.

    Raises:
        PayloadTooLargeError: It would be over a limit.
    """
    if len(document.labels) > MAX_LABELS:
        raise PayloadTooLargeError(f"a resource has at most {MAX_LABELS} labels")
    content = {
        "format": _FORMAT,
        "level": level_of(document.resource),
        "names": names_of(document.resource),
        "version": document.version,
        "write": document.write,
        "attachments": _members(document.attachments),
        "metadata": _members(document.metadata),
        "labels": sorted(document.labels),
        "gone_attachments": _members(document.gone_attachments),
        "gone_metadata": _members(document.gone_metadata),
    }
    # Half a character, as UIDs of broken files may have it, is written as well.
    text_of_all = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    body = text_of_all.encode("utf-8", "surrogatepass")[:-1]
    text = b'%s,"sha256":"%s"}\n' % (body, hashlib.sha256(body).hexdigest().encode())
    if len(text) > MAX_DOCUMENT_BYTES:
        raise PayloadTooLargeError(
            f"the metadata, labels and attachments of this resource would take {len(text)} bytes "
            f"to write down, and may take {MAX_DOCUMENT_BYTES}: keep what is large in attachments"
        )
    return text


def _members(entries: Mapping[int, E]) -> dict[str, object]:
    return {str(number): asdict(entry) for number, entry in sorted(entries.items())}


def parse_document(text: bytes) -> ResourceDocument:
    """Read what ``format_document`` wrote.

    Raises:
        DamagedDocumentError: It is not that, byte by byte, or of a later form.
    """
    body, seal = text[:-_SEAL_BYTES], _SEAL.fullmatch(text[-_SEAL_BYTES:])
    if seal is None or hashlib.sha256(body).hexdigest().encode() != seal[1]:
        raise DamagedDocumentError("a document of a resource does not have its checksum")
    try:
        return _document(json.loads(body.decode("utf-8", "surrogatepass") + "}"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise DamagedDocumentError("a document of a resource is not of a form known here") from exc


def _document(content: dict[str, Any]) -> ResourceDocument:
    if content["format"] != _FORMAT or set(content) != _MEMBERS:
        raise ValueError("another form")
    return ResourceDocument(
        resource=resource_of_level(content["level"], list(map(_text, content["names"]))),
        version=_whole(content["version"]),
        write=_text(content["write"]),
        attachments=_entries(content["attachments"], AttachmentEntry),
        metadata=_entries(content["metadata"], MetadataEntry),
        labels=frozenset(map(_label, content["labels"])),
        gone_attachments=_entries(content["gone_attachments"], Gone),
        gone_metadata=_entries(content["gone_metadata"], Gone),
    )


def _entries(members: dict[str, dict[str, Any]], kind: type[T]) -> dict[int, T]:
    wanted = {each.name: str(each.type) for each in fields(kind)}  # type: ignore[arg-type]
    entries: dict[int, T] = {}
    for number, entry in members.items():
        if set(entry) != set(wanted):
            raise ValueError("another form")
        read = {name: _READERS[wanted[name]](value) for name, value in entry.items()}
        # A key is made of it.
        if "uuid" in read and _UUID.fullmatch(read["uuid"]) is None:
            raise ValueError("not a UUID")
        entries[_number(number)] = kind(**read)
    return entries


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 0 <= int(text) <= MAX_NUMBER:
        raise ValueError("not a number")
    return int(text)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("not a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _label(value: Any) -> str:
    if not is_label(_text(value)):
        raise ValueError("not a label")
    return str(value)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {"str": _text, "int": _whole, "bool": _flag}
