"""Attachments of resources: contents of any kind, each under a number.

A content is put under a key of its own before the document names it, and goes when the document
names another. So whoever reads a document finds its contents, whatever is put meanwhile and
wherever a process ends; what is left over is named by no document, and found by that.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from dicomulus.dicom.attachment_types import DICOM_FILE, USER_NUMBERS
from dicomulus.dicom.content_uuids import new_content_uuid, object_uuid
from dicomulus.dicom.own_keys import attachment_key
from dicomulus.dicom.resource import InstanceResource, is_compressed_key
from dicomulus.errors import (
    AttachmentNotFoundError,
    AttachmentReservedError,
    ConfigurationError,
    CorruptReadError,
    DamagedContentError,
    IdentifierNotFoundError,
    ObjectNotFoundError,
    RevisionMismatchError,
    UnavailableError,
)
from dicomulus.services.attachment_content import inflated, md5, part_of, spooled, summed
from dicomulus.services.content import Content
from dicomulus.services.findings import Finding
from dicomulus.services.resource_document import AttachmentEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.dicom.attachment_types import AttachmentTypes
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import InstanceRow, ObjectStore
    from dicomulus.services.attachment_content import Spooled
    from dicomulus.services.damage import Damages
    from dicomulus.services.documents import Documents
    from dicomulus.services.resource_document import ResourceDocument
    from dicomulus.services.retrieve import Retrieve
    from dicomulus.services.verify import Verify

T = TypeVar("T")

CONTENT_LIVES_MS: Final = 43_200_000
"""Time for which a content that no document names is safe: half of what reconcile waits for."""

SUMS_KEPT: Final = 10_000
"""MD5s of DICOM objects that are remembered; each is computed by reading the object."""

MAX_UNASKED_BYTES: Final = 67_108_864
"""Bytes of a DICOM object over which it is not read whole for its MD5 unless that is asked for."""

_ATTEMPTS: Final = 5
"""Times that a content which is replaced meanwhile is read or written anew."""


class StreamStored(Protocol):
    """Gives the bytes of an object as they lie in the storage area."""

    def __call__(self, key: str, /, *, if_match: str) -> Iterator[bytes]:
        """Give those of one generation."""
        ...


class Forms(Protocol):
    """Changes the form that DICOM objects have at rest."""

    def compress(self, instance: InstanceResource) -> bool:
        """Have an instance's object lie compressed."""
        ...

    def uncompress(self, instance: InstanceResource) -> bool:
        """Have it lie as it came."""
        ...


class Attachments:
    """Gives, puts, verifies and deletes the attachments of resources that exist."""

    def __init__(
        self,
        storage: ObjectStore,
        documents: Documents,
        *,
        retrieve: Retrieve,
        verify: Verify,
        damages: Damages,
        stream_stored: StreamStored,
        types: AttachmentTypes,
        compresses: bool,
        checks_revisions: bool,
        clock_ms: Callable[[], int],
        forms: Forms,
    ) -> None:
        """Keep attachments in the storage area.

        Args:
            storage: Where contents lie.
            documents: Where it is told which there are.
            retrieve: Gives the DICOM objects, which are attachments as well.
            verify: Verifies these.
            damages: Is told which contents are damaged.
            stream_stored: Gives the bytes of one that is compressed at rest as they lie there.
            types: What the numbers are called.
            compresses: Whether new contents are deflated.
            checks_revisions: Whether nothing is changed by who does not say what it was.
            clock_ms: Gives milliseconds since the epoch.
            forms: Changes the form of DICOM objects.
        """
        self._storage = storage
        self._documents = documents
        self._retrieve = retrieve
        self._verify = verify
        self._damages = damages
        self._stream_stored = stream_stored
        self.types = types
        self._compresses = compresses
        self._checks_revisions = checks_revisions
        self._clock_ms = clock_ms
        self._forms = forms
        self._sums = _Sums()

    # reading

    def numbers(self, resource: Resource) -> list[int]:
        """Give the numbers of the attachments that a resource has, in order."""
        own = set(self._documents.read(resource).attachments) - {DICOM_FILE}
        return sorted(own | ({DICOM_FILE} if isinstance(resource, InstanceResource) else set()))

    def find(self, resource: Resource, number: int, *, sums: bool = True) -> AttachmentEntry:
        """Give what is told of an attachment; the MD5 of a large DICOM object if ``sums`` asks.

        Raises:
            AttachmentNotFoundError: The resource has none of that number.
        """
        if number == DICOM_FILE and isinstance(resource, InstanceResource):
            return self._retrieve.of_current(resource, partial(self._entry_of_row, sums=sums))
        return self._named(resource, number)

    def read(
        self,
        resource: Resource,
        number: int,
        give: Callable[[AttachmentEntry, Content], T],
        *,
        as_stored: bool = False,
    ) -> T:
        """Give what is made of an attachment and its content, once more if that was replaced.

        ``give`` takes the first bytes, if it takes any.

        Raises:
            AttachmentNotFoundError: The resource has none of that number.
            DamagedContentError: The content is missing.
            UnavailableError: It is replaced faster than it can be read.
        """
        if number == DICOM_FILE and isinstance(resource, InstanceResource):
            return self._retrieve.of_current(
                resource, partial(self._given_of_row, give, as_stored=as_stored)
            )
        missed = ""
        for _ in range(_ATTEMPTS):
            entry = self._named(resource, number)
            if entry.uuid == missed:
                raise DamagedContentError("the content of the attachment is missing")
            try:
                return give(entry, self._content(entry, as_stored=as_stored))
            except ObjectNotFoundError:
                missed = entry.uuid
        raise UnavailableError("the attachment is replaced faster than it can be read")

    def _given_of_row(
        self,
        give: Callable[[AttachmentEntry, Content], T],
        row: InstanceRow,
        *,
        as_stored: bool,
    ) -> T:
        entry = self._entry_of_row(row, sums=False)
        return give(entry, self._content_of_row(row, as_stored=as_stored, entry=entry))

    def location(self, entry: AttachmentEntry) -> str:
        """Give the key of the content of an attachment that is no DICOM object."""
        return attachment_key(entry.uuid)

    def _named(self, resource: Resource, number: int) -> AttachmentEntry:
        entry = self._documents.read(resource).attachments.get(number)
        if entry is None or number == DICOM_FILE:
            raise AttachmentNotFoundError("there is no such attachment")
        return entry

    def _content(self, entry: AttachmentEntry, *, as_stored: bool) -> Content:
        key = attachment_key(entry.uuid)

        def stored(start: int, length: int) -> Iterator[bytes]:
            return _counted(self._storage.stream(key, start=start, length=length), length)

        def whole(start: int, length: int) -> Iterator[bytes]:
            pieces = inflated(self._storage.stream(key), size=entry.size)
            return part_of(pieces, start=start, length=length)

        if as_stored:
            return Content.seekable(entry.stored_size, stored)
        return Content.seekable(entry.size, whole if entry.is_compressed else stored)

    # the DICOM object

    def _entry_of_row(self, row: InstanceRow, *, sums: bool) -> AttachmentEntry:
        known = (row.object_key, row.object_etag)
        size = stored_size = row.object_size
        is_compressed = is_compressed_key(row.object_key)
        plain = stored = ""
        if sums or size <= MAX_UNASKED_BYTES:
            _, plain = self._sums.of(known, partial(self._stored_pieces, row))
            stored = plain
        if is_compressed:
            pieces = partial(self._stream_stored, row.object_key, if_match=row.object_etag)
            stored_size, stored = self._sums.of((*known, "stored"), pieces)
        return AttachmentEntry(
            uuid=object_uuid(*known),
            size=size,
            md5=plain,
            stored_size=stored_size,
            stored_md5=stored,
            is_compressed=is_compressed,
        )

    def _stored_pieces(self, row: InstanceRow) -> Iterator[bytes]:
        return self._retrieve.stored(row).chunks

    def _content_of_row(
        self, row: InstanceRow, *, as_stored: bool, entry: AttachmentEntry
    ) -> Content:
        if not (as_stored and entry.is_compressed):
            return self._retrieve.stored(row)
        pieces = self._stream_stored(row.object_key, if_match=row.object_etag)
        return Content(entry.stored_size, pieces)

    def _is_sound_object(self, row: InstanceRow) -> bool:
        findings = self._verify.verify([row], keep=True)
        return not (findings.found[Finding.DAMAGED] or findings.found[Finding.UNREADABLE])

    # verification

    def verify(self, resource: Resource, number: int) -> bool:
        """Read an attachment whole, and tell whether it is what was put.

        Raises:
            AttachmentNotFoundError: The resource has none of that number.
            DamagedContentError: The content is missing.
        """
        if number == DICOM_FILE and isinstance(resource, InstanceResource):
            return self._retrieve.of_current(resource, self._is_sound_object)

        def check(entry: AttachmentEntry, content: Content) -> bool:
            is_sound = _is_sound(entry, content)
            self._note(resource, entry, is_sound=is_sound)
            return is_sound

        return self.read(resource, number, check, as_stored=True)

    def _note(self, resource: Resource, entry: AttachmentEntry, *, is_sound: bool) -> None:
        """Have it known whether a content is damaged, as any verification does."""
        key = attachment_key(entry.uuid)
        if is_sound:
            self._damages.is_sound(key)
            return
        info = self._storage.head(key)
        if info is not None:
            self._damages.found(info, resource)

    # writing

    def check_change(
        self, resource: Resource, number: int, *, expected: tuple[int, str] | None
    ) -> None:
        """Refuse what would be refused once a content has come, before it comes.

        Raises:
            AttachmentReservedError: The number is not the users' own.
            RevisionMismatchError: It is another revision than is expected, or none is.
        """
        if number not in USER_NUMBERS:
            raise AttachmentReservedError("attachments under this number cannot be changed")
        self._check(self._documents.read(resource).attachments.get(number), expected)

    def put(
        self,
        resource: Resource,
        number: int,
        read: Callable[[int], bytes],
        *,
        expected: tuple[int, str] | None = None,
        max_bytes: int | None = None,
        is_there: Callable[[], bool] = lambda: True,
    ) -> AttachmentEntry:
        """Put a content under a number, instead of the one that is there.

        Args:
            resource: One that exists.
            number: One of the users' own.
            read: Gives the content: at most so many bytes, and none at the end.
            expected: Revision and MD5 of what is to be there; not looked at where nothing is.
            max_bytes: Most bytes that are taken.
            is_there: Tells once it is put whether the resource still exists.

        Raises:
            AttachmentReservedError: The number is not the users' own.
            RevisionMismatchError: It is another revision than is expected, or none is.
            PayloadTooLargeError: The content is too long.
            IdentifierNotFoundError: The resource has gone meanwhile.
            UnavailableError: It may or may not have been put.
        """
        self.check_change(resource, number, expected=expected)

        is_alone = False

        def check(entry: AttachmentEntry | None, document: ResourceDocument) -> None:
            nonlocal is_alone
            is_alone = document.version == 0
            self._check(entry, expected)

        with spooled(read, compressed=self._compresses, max_bytes=max_bytes) as content:
            placed = self._place(resource, number, content, check)
        if is_there():
            return placed
        # What was deleted meanwhile must not come back with this, should it be stored again. A
        # document that was there before goes with the resource, or stays if that merely vanished.
        if is_alone:
            self.forget_contents(self._documents.remove(resource))
        raise IdentifierNotFoundError("the resource is not there any more")

    def delete(
        self, resource: Resource, number: int, *, expected: tuple[int, str] | None = None
    ) -> None:
        """Delete an attachment.

        Raises:
            AttachmentReservedError: The number is not the users' own.
            AttachmentNotFoundError: The resource has none of that number.
            RevisionMismatchError: It is another revision than is expected, or none is.
        """
        if number not in USER_NUMBERS:
            raise AttachmentReservedError("attachments under this number cannot be changed")
        if expected is None and self._checks_revisions:
            raise RevisionMismatchError("If-Match is missing, and revisions are checked here")
        taken: set[str] = set()

        def without(document: ResourceDocument) -> ResourceDocument:
            entry = document.attachments.get(number)
            if entry is None and taken:
                # An attempt before went through, though its answer was lost.
                return document
            if entry is None:
                raise AttachmentNotFoundError("there is no such attachment")
            self._check(entry, expected)
            taken.add(entry.uuid)
            return document.without_attachment(number)

        self._let_go(taken, self._documents.update(resource, without))

    def recompress(self, resource: Resource, number: int, *, compressed: bool) -> None:
        """Have an attachment deflated at rest, or not; what is so already stays.

        Raises:
            AttachmentNotFoundError: The resource has none of that number.
            DamagedContentError: The content is not what was put, and stays as it is.
            UnavailableError: It is replaced faster than it can be written.
        """
        if number == DICOM_FILE and isinstance(resource, InstanceResource):
            self._recompress_object(resource, compressed=compressed)
            return
        for _ in range(_ATTEMPTS):
            if self.read(resource, number, partial(self._remade, resource, number, compressed)):
                return
        raise UnavailableError("the attachment is replaced faster than it can be written")

    def _recompress_object(self, instance: InstanceResource, *, compressed: bool) -> None:
        row = self._retrieve.instance_row(instance)
        if is_compressed_key(row.object_key) == compressed:
            return
        if compressed:
            self._forms.compress(instance)
        else:
            self._forms.uncompress(instance)

    def _remade(
        self,
        resource: Resource,
        number: int,
        compressed: bool,
        entry: AttachmentEntry,
        content: Content,
    ) -> bool:
        """Write a content in its other form; whether that is what the document names now."""
        if entry.is_compressed == compressed:
            return True

        def check(held: AttachmentEntry | None, _: ResourceDocument) -> None:
            if held is None or held.uuid != entry.uuid:
                raise RevisionMismatchError("the attachment was replaced meanwhile")

        with spooled(_reader(content.chunks), compressed=compressed) as made:
            if (made.form.size, made.form.md5) != (entry.size, entry.md5):
                raise DamagedContentError("the content of the attachment is not what was put")
            try:
                self._place(resource, number, made, check)
            except RevisionMismatchError:
                return False
        return True

    def _check(self, entry: AttachmentEntry | None, expected: tuple[int, str] | None) -> None:
        if entry is None:
            return
        if expected is None:
            if self._checks_revisions:
                raise RevisionMismatchError("If-Match is missing, and revisions are checked here")
        elif expected != (entry.revision, entry.md5):
            raise RevisionMismatchError("the attachment is of another revision by now")

    def _place(
        self,
        resource: Resource,
        number: int,
        content: Spooled,
        check: Callable[[AttachmentEntry | None, ResourceDocument], None],
    ) -> AttachmentEntry:
        """Put a content, then have the document name it, then let the one before go."""
        form = content.form
        entry = AttachmentEntry(
            uuid=new_content_uuid(resource),
            size=form.size,
            md5=form.md5,
            stored_size=form.stored_size,
            stored_md5=form.stored_md5,
            is_compressed=form.is_compressed,
        )
        key = attachment_key(entry.uuid)
        put_ms = self._clock_ms()
        self._storage.put(key, content.file, if_none_match=True)
        replaced: set[str] = set()

        def named(document: ResourceDocument) -> ResourceDocument:
            held = document.attachments.get(number)
            if held is not None and held.uuid == entry.uuid:
                # An attempt before went through, though its answer was lost.
                return document
            check(held, document)
            if held is not None:
                replaced.add(held.uuid)
            return document.with_attachment(number, entry)

        try:
            document = self._documents.update(resource, named)
        except RevisionMismatchError:
            # Where it is less clear what became of a put, its content is left to whoever looks for
            # what no document names.
            with suppress(UnavailableError, ConfigurationError):
                self._let_go({*replaced, entry.uuid}, self._documents.read(resource))
            raise
        if self._clock_ms() - put_ms > CONTENT_LIVES_MS:
            # It may have been taken for left over before the document named it.
            content.file.seek(0)
            self._storage.put(key, content.file)
        self._let_go(replaced, document)
        held = document.attachments.get(number)
        return entry if held is None or held.uuid != entry.uuid else held

    def _let_go(self, replaced: set[str], document: ResourceDocument) -> None:
        """Delete contents that the document no longer names."""
        named = {entry.uuid for entry in document.attachments.values()}
        for uuid in sorted(replaced - named):
            # One that stays is left over, which somebody finds; not everybody may delete.
            with suppress(UnavailableError, ConfigurationError):
                self._storage.delete(attachment_key(uuid))

    def forget_contents(self, document: ResourceDocument) -> None:
        """Delete the contents that a document named which is no more."""
        for entry in document.attachments.values():
            self._storage.delete(attachment_key(entry.uuid))


class _Sums:
    """Lengths and MD5s that were computed, by what they are of; the latest ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], tuple[int, str]] = OrderedDict()
        self._lock = Lock()

    def of(self, what: tuple[str, ...], read: Callable[[], Iterator[bytes]]) -> tuple[int, str]:
        """Give them, computed if they are not known."""
        with self._lock:
            if what in self._known:
                self._known.move_to_end(what)
                return self._known[what]
        found = summed(read())
        with self._lock:
            self._known[what] = found
            while len(self._known) > SUMS_KEPT:
                self._known.popitem(last=False)
        return found


def _counted(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Give so many bytes.

    Raises:
        DamagedContentError: There are fewer.
    """
    left = length
    for piece in pieces:
        left -= len(piece)
        yield piece
    if left:
        raise DamagedContentError("the content is shorter than it was")


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """Read pieces as a file is read, though whole piece by whole piece."""
    return lambda _: next((piece for piece in pieces if piece), b"")


def _is_sound(entry: AttachmentEntry, content: Content) -> bool:
    """Read a content as it is stored, and tell whether it is what was put."""
    stored, stored_size = md5(), 0

    def noted() -> Iterator[bytes]:
        nonlocal stored_size
        for piece in content.chunks:
            stored.update(piece)
            stored_size += len(piece)
            yield piece

    try:
        pieces = inflated(noted(), size=entry.size) if entry.is_compressed else noted()
        size, sums = summed(pieces)
    except (CorruptReadError, DamagedContentError):
        return False
    return (size, sums, stored_size, stored.hexdigest()) == (
        entry.size,
        entry.md5,
        entry.stored_size,
        entry.stored_md5,
    )
