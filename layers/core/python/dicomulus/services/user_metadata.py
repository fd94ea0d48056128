"""Metadata and labels of resources: put and deleted by users, beside what the rows tell."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.labels import is_label
from dicomulus.dicom.metadata_names import ORIGIN_NUMBERS, USER_NUMBERS
from dicomulus.errors import (
    IdentifierNotFoundError,
    InvalidResourceError,
    MetadataNotFoundError,
    MetadataReservedError,
    PayloadTooLargeError,
    RevisionMismatchError,
)
from dicomulus.services.identifiers import has_instances
from dicomulus.services.resource_document import MetadataEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index
    from dicomulus.services.documents import Documents
    from dicomulus.services.resource_document import ResourceDocument

MAX_VALUE_BYTES: Final = 65_536
"""Bytes of a value; what is larger is better kept as an attachment."""


class UserMetadata:
    """Gives, puts and deletes metadata and labels of resources that exist."""

    def __init__(
        self,
        index: Index,
        documents: Documents,
        *,
        system: Callable[[Resource], Mapping[int, str]],
        checks_revisions: bool,
    ) -> None:
        """Keep them in documents.

        Args:
            index: Tells whether a resource exists.
            documents: Where they are.
            system: Gives the metadata below 1024, as rows tell it.
            checks_revisions: Whether nothing is replaced or deleted by who does not say what it was.
        """
        self._index = index
        self._documents = documents
        self._system = system
        self._checks_revisions = checks_revisions

    # metadata

    def entries(self, resource: Resource) -> Mapping[int, MetadataEntry]:
        """Give all metadata of a resource by number; what a document says goes before what rows do."""
        told = self._system(resource)
        derived = {number: MetadataEntry(value=text, revision=0) for number, text in told.items()}
        return dict(sorted({**derived, **self._documents.read(resource).metadata}.items()))

    def find(self, resource: Resource, number: int) -> MetadataEntry:
        """Give one metadata.

        Raises:
            MetadataNotFoundError: The resource has none of that number.
        """
        entry = self._documents.read(resource).metadata.get(number)
        if entry is None and number not in USER_NUMBERS:
            entry = self.entries(resource).get(number)
        if entry is None:
            raise MetadataNotFoundError("there is no such metadata")
        return entry

    def put(
        self, resource: Resource, number: int, value: str, *, expected: tuple[int, str] | None
    ) -> MetadataEntry:
        """Put a value.

        Args:
            resource: A resource that exists.
            number: Which metadata.
            value: The value.
            expected: Revision and MD5 of the value that is there, if there is one.

        Raises:
            MetadataReservedError: The number is not the users' own.
            PayloadTooLargeError: The value is over its limit.
            RevisionMismatchError: There is another value by now.
            IdentifierNotFoundError: The resource has gone meanwhile.
        """
        _check_number(number)
        _check_value(value)

        def change(document: ResourceDocument) -> ResourceDocument:
            self._check(document, number, expected)
            return document.with_metadata(number, value)

        return self._update(resource, change).metadata[number]

    def delete(self, resource: Resource, number: int, *, expected: tuple[int, str] | None) -> None:
        """Delete a value; see ``put``.

        Raises:
            MetadataNotFoundError: The resource has none of that number.
        """
        _check_number(number)

        def change(document: ResourceDocument) -> ResourceDocument:
            if number not in document.metadata:
                raise MetadataNotFoundError("there is no such metadata")
            self._check(document, number, expected)
            return document.without_metadata(number)

        self._update(resource, change)

    def take_over(
        self, resource: Resource, values: Mapping[int, str], labels: Collection[str]
    ) -> None:
        """Put what another archive told of a resource, in one write.

        Among the values may be those below 1024 that tell where an instance comes from. A value
        that is there already, or a label, stays as it is.

        Raises:
            MetadataReservedError: A number is neither the users' own nor one of these.
            PayloadTooLargeError: A value is over its limit.
            InvalidResourceError: A text can be no label.
            IdentifierNotFoundError: The resource has gone meanwhile.
        """
        for number, value in values.items():
            if number not in ORIGIN_NUMBERS:
                _check_number(number)
            _check_value(value)
        for label in labels:
            _check_label(label)

        def change(document: ResourceDocument) -> ResourceDocument:
            for number, value in values.items():
                entry = document.metadata.get(number)
                if entry is None or entry.value != value:
                    document = document.with_metadata(number, value)
            return replace(document, labels=document.labels | frozenset(labels))

        self._update(resource, change)

    def _check(
        self, document: ResourceDocument, number: int, expected: tuple[int, str] | None
    ) -> None:
        entry = document.metadata.get(number)
        if entry is None or (expected is None and not self._checks_revisions):
            return
        if expected is None:
            raise RevisionMismatchError("If-Match is missing, and check_revisions asks for it")
        if (entry.revision, md5_of(entry.value)) != expected:
            raise RevisionMismatchError(
                f"the revision is {entry.revision} by now, or the value another"
            )

    # labels

    def labels(self, resource: Resource) -> list[str]:
        """Give the labels of a resource, in order."""
        return sorted(self._documents.read(resource).labels)

    def put_label(self, resource: Resource, label: str) -> None:
        """Put a label.

        Raises:
            InvalidResourceError: The text can be none.
            IdentifierNotFoundError: The resource has gone meanwhile.
        """
        _check_label(label)
        self._update(resource, lambda document: document.with_label(label))

    def delete_label(self, resource: Resource, label: str) -> None:
        """Remove a label; none there is no error.

        Raises:
            InvalidResourceError: The text can be none.
        """
        _check_label(label)
        self._update(resource, lambda document: document.without_label(label))

    def _update(
        self, resource: Resource, change: Callable[[ResourceDocument], ResourceDocument]
    ) -> ResourceDocument:
        is_first = False

        def noted(document: ResourceDocument) -> ResourceDocument:
            nonlocal is_first
            is_first = document.version == 0
            return change(document)

        written = self._documents.update(resource, noted)
        if has_instances(self._index, resource):
            return written
        # What was deleted meanwhile must not come back with this, should it be stored again. A
        # document that was there before goes with the resource, or stays if that merely vanished.
        if is_first:
            self._documents.remove(resource)
        raise IdentifierNotFoundError("the resource is not there any more")


def md5_of(value: str) -> str:
    """Give the MD5 of a value, in hexadecimal, by which its revision is named."""
    content = value.encode("utf-8", "surrogatepass")
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _check_number(number: int) -> None:
    if number not in USER_NUMBERS:
        raise MetadataReservedError(
            f"the users' own metadata have numbers from {USER_NUMBERS[0]} to {USER_NUMBERS[-1]}"
        )


def _check_value(value: str) -> None:
    if len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
        raise PayloadTooLargeError(
            f"a value of metadata has at most {MAX_VALUE_BYTES} bytes: larger ones are attachments"
        )


def _check_label(label: str) -> None:
    if not is_label(label):
        raise InvalidResourceError("a label has 1 to 64 letters, digits, _ and -, and no others")
