"""Everything that can go wrong, as one tree.

    DicomulusError
    ├── InvalidRequestError            the request cannot be understood
    │   ├── InvalidQueryError          a search parameter, named, and the rule it breaks
    │   ├── InvalidResourceError       a path part that no resource has
    │   ├── InvalidHeaderError         a header that does not parse
    │   ├── InvalidBodyError           a body that does not parse
    │   ├── TargetTooLongError         a path and query over a limit
    │   ├── HeadersTooLargeError       headers over a limit
    │   └── TransferCodingError        a body sent in a way that is not known
    ├── NotFoundError                  nothing there
    │   ├── RouteNotFoundError
    │   ├── StudyNotFoundError
    │   ├── SeriesNotFoundError
    │   ├── InstanceNotFoundError
    │   ├── FrameNotFoundError
    │   ├── BulkDataNotFoundError
    │   ├── UploadsNotFoundError
    │   ├── AttachmentNotFoundError
    │   ├── IdentifierNotFoundError
    │   ├── MetadataNotFoundError
    │   ├── LabelNotFoundError
    │   └── GoneError                  nothing there any more
    │       ├── StudyGoneError
    │       ├── SeriesGoneError
    │       └── InstanceGoneError
    ├── MethodNotAllowedError          the resource has no such method
    ├── UnauthorizedError              nobody who may ask has asked
    │   ├── TokenMissingError
    │   └── TokenInvalidError
    ├── ForbiddenError                 the resource has it, this archive does not allow it
    │   ├── StoreForbiddenError
    │   ├── DeleteForbiddenError
    │   ├── AdoptedObjectError
    │   ├── AttachmentReservedError
    │   ├── MetadataReservedError
    │   ├── ScopeMissingError
    │   └── OriginForbiddenError
    ├── MisdirectedRequestError        the Host header names another server
    ├── NotOfferedError                Orthanc has it, this archive has not
    ├── NotAcceptableError             no representation fits Accept
    ├── UnsupportedMediaTypeError      the body's media type is not taken
    ├── PayloadTooLargeError           the body is over a limit
    ├── ResponseTooLargeError          the answer is over a limit
    ├── RangeNotSatisfiableError       a range of bytes that begins behind the end
    ├── SearchTooBroadError            no match in the time that a search has
    ├── UnavailableError               try again later
    │   ├── StorageFullError           there is no room
    │   ├── ObjectChangedError         an object is no longer the one planned for
    │   ├── CorruptReadError           the store sends other bytes than it was given
    │   ├── DamagedDocumentError       what is kept of a resource beside its objects is damaged
    │   └── DerivedDataMissingError    something derived is gone; it is being rebuilt
    ├── RejectedObjectError            an object that cannot be indexed, and why
    ├── ObjectNotFoundError            no object under that key
    ├── PreconditionFailedError        a condition names another state than there is
    ├── RevisionMismatchError          a change is for another revision than there is
    ├── CorruptFragmentError           stored metadata fails its own checks
    ├── DamagedContentError            the content of an attachment is not what was put
    ├── AttachmentDamagedError         a verification has found that of an attachment
    ├── CorruptObjectError             a compressed object fails its own checks
    ├── RemoteError                    what the command meets at the server that it talks to
    │   ├── RemoteUnavailableError     it cannot be reached, or stays unavailable
    │   ├── RemoteRefusedError         it refuses the request
    │   └── RemoteAnswerError          its answer breaks off or does not parse
    ├── SourceFileError                a file to be sent that cannot be read as it was found
    └── ConfigurationError             a setting, and what is wrong with it

No class knows HTTP: ``dicomulus.wire.problem`` maps them to status codes.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DicomulusError(Exception):
    """Base of all errors of this package.

    ``code`` is stable and meant for programs; the text is for people and carries no patient data.
    """

    code: ClassVar[str] = "error"


class InvalidRequestError(DicomulusError):
    """The request cannot be understood."""

    code = "invalid-request"


class InvalidQueryError(InvalidRequestError):
    """A search parameter breaks a rule (PS3.18 §8.3.4)."""

    code = "invalid-query"

    def __init__(self, parameter: str, rule: str) -> None:
        """Name the parameter as sent and the rule in one sentence."""
        super().__init__(f"{parameter}: {rule}")
        self.parameter = parameter
        self.rule = rule


class InvalidResourceError(InvalidRequestError):
    """A path part cannot name any resource."""

    code = "invalid-resource"


class InvalidHeaderError(InvalidRequestError):
    """A header does not parse."""

    code = "invalid-header"

    def __init__(self, header: str, rule: str) -> None:
        """Name the header and the rule in one sentence."""
        super().__init__(f"{header}: {rule}")
        self.header = header
        self.rule = rule


class InvalidBodyError(InvalidRequestError):
    """The body does not parse."""

    code = "invalid-body"


class TargetTooLongError(InvalidRequestError):
    """The path and the query are over a limit."""

    code = "target-too-long"


class HeadersTooLargeError(InvalidRequestError):
    """The headers are over a limit."""

    code = "headers-too-large"


class TransferCodingError(InvalidRequestError):
    """The body has a transfer coding other than chunked."""

    code = "transfer-coding"


class NotFoundError(DicomulusError):
    """The target resource does not exist."""

    code = "not-found"


class RouteNotFoundError(NotFoundError):
    """No transaction has this path."""

    code = "route-not-found"


class StudyNotFoundError(NotFoundError):
    """The study has no instance here."""

    code = "study-not-found"


class SeriesNotFoundError(NotFoundError):
    """The series has no instance here."""

    code = "series-not-found"


class InstanceNotFoundError(NotFoundError):
    """The instance is not here."""

    code = "instance-not-found"


class FrameNotFoundError(NotFoundError):
    """The instance has no frame of that number."""

    code = "frame-not-found"


class BulkDataNotFoundError(NotFoundError):
    """The instance has no element at that path."""

    code = "bulk-data-not-found"


class UploadsNotFoundError(NotFoundError):
    """Objects are taken by the Store transaction alone."""

    code = "uploads-not-found"


class AttachmentNotFoundError(NotFoundError):
    """The resource has no such attachment."""

    code = "attachment-not-found"


class IdentifierNotFoundError(NotFoundError):
    """No resource has this Orthanc identifier."""

    code = "identifier-not-found"


class MetadataNotFoundError(NotFoundError):
    """The resource has no such metadata."""

    code = "metadata-not-found"


class LabelNotFoundError(NotFoundError):
    """The resource does not have the label."""

    code = "label-not-found"


class GoneError(NotFoundError):
    """The target resource was here and is not any more."""

    code = "gone"


class StudyGoneError(GoneError):
    """The study had instances here, and has none any more."""

    code = "study-gone"


class SeriesGoneError(GoneError):
    """The series had instances here, and has none any more."""

    code = "series-gone"


class InstanceGoneError(GoneError):
    """The instance was deleted here."""

    code = "instance-gone"


class MethodNotAllowedError(DicomulusError):
    """The resource does not have the method."""

    code = "method-not-allowed"

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        """Name the method and those the resource has."""
        super().__init__(f"{method} is not a method of this resource; it has {', '.join(allowed)}")
        self.allowed = allowed


class UnauthorizedError(DicomulusError):
    """The request does not show that it comes from somebody who may use the archive."""

    code = "unauthorized"


class TokenMissingError(UnauthorizedError):
    """The request has no bearer token, and needs one."""

    code = "token-missing"


class TokenInvalidError(UnauthorizedError):
    """The request's Authorization is no bearer token that is known here."""

    code = "token-invalid"


class ForbiddenError(DicomulusError):
    """The archive is set up not to allow the request."""

    code = "forbidden"


class StoreForbiddenError(ForbiddenError):
    """Storing is switched off."""

    code = "store-forbidden"


class DeleteForbiddenError(ForbiddenError):
    """Deleting is switched off."""

    code = "delete-forbidden"


class AdoptedObjectError(ForbiddenError):
    """The object lies where others put it, and is not rewritten."""

    code = "adopted-object"


class AttachmentReservedError(ForbiddenError):
    """The number of the attachment is not the users' own."""

    code = "attachment-reserved"


class MetadataReservedError(ForbiddenError):
    """The number of the metadata is not the users' own."""

    code = "metadata-reserved"


class ScopeMissingError(ForbiddenError):
    """The request's token is not for requests of this kind."""

    code = "scope-missing"

    def __init__(self, scope: str) -> None:
        """Name the scope that is needed."""
        super().__init__(f"the token does not have the scope {scope}")
        self.scope = scope


class OriginForbiddenError(ForbiddenError):
    """A page of that origin may not use the archive."""

    code = "origin-forbidden"


class MisdirectedRequestError(DicomulusError):
    """The Host header names a server that this one is not."""

    code = "misdirected-request"


class NotOfferedError(DicomulusError):
    """Orthanc's REST API has it, and this archive has not; the text says what to do instead."""

    code = "not-offered"


class NotAcceptableError(DicomulusError):
    """No representation of the resource fits the Accept header (PS3.18 §8.7)."""

    code = "not-acceptable"


class UnsupportedMediaTypeError(DicomulusError):
    """The body's media type is not taken here."""

    code = "unsupported-media-type"


class PayloadTooLargeError(DicomulusError):
    """The body, or a part of it, is over a limit."""

    code = "payload-too-large"

    def __init__(self, message: str, *, uploads: str = "") -> None:
        """Say what is over the limit, and the URL for direct upload where there is one."""
        super().__init__(message)
        if uploads:
            self.uploads = uploads


class ResponseTooLargeError(DicomulusError):
    """The answer would be over a limit; ``manifest`` is the URL of one that lists its instances."""

    code = "response-too-large"

    def __init__(self, text: str, *, manifest: str | None = None) -> None:
        """Say which limit, and where the manifest is if there is one."""
        super().__init__(text)
        self.manifest = manifest


class RangeNotSatisfiableError(DicomulusError):
    """A range of bytes begins behind the end of what it is of (RFC 9110 §15.5.17)."""

    code = "range-not-satisfiable"

    def __init__(self, complete_length: int) -> None:
        """Say how many bytes there are."""
        super().__init__(f"There are {complete_length} bytes, and the range begins behind them")
        self.complete_length = complete_length


class SearchTooBroadError(DicomulusError):
    """A search looked at much and has nothing to answer; the text says how to narrow it."""

    code = "search-too-broad"


class UnavailableError(DicomulusError):
    """The answer cannot be given now; the same request will succeed later."""

    code = "unavailable"
    retry_after_seconds: ClassVar[int] = 1


class StorageFullError(UnavailableError):
    """There is no room to write; it may be made."""

    code = "storage-full"
    retry_after_seconds = 60


class ObjectChangedError(UnavailableError):
    """The object under a key is no longer the one whose entity tag was asked for."""

    code = "object-changed"


class CorruptReadError(UnavailableError):
    """The store sends other bytes than it was given, on the way or for good."""

    code = "corrupt-read"


class DamagedDocumentError(UnavailableError):
    """The attachments, metadata and labels of a resource are unknown until somebody mends them."""

    code = "damaged-document"
    retry_after_seconds = 600


class DerivedDataMissingError(UnavailableError):
    """Something that can be rebuilt from the storage area is missing."""

    code = "derived-data-missing"


class RejectedObjectError(DicomulusError):
    """The object cannot be indexed; the text says why, without patient data."""

    code = "rejected-object"


class ObjectNotFoundError(DicomulusError):
    """There is no object under the key."""

    code = "object-not-found"


class PreconditionFailedError(DicomulusError):
    """A condition names another state than there is."""

    code = "precondition-failed"


class RevisionMismatchError(DicomulusError):
    """Somebody else has changed what a change was made for."""

    code = "revision-mismatch"


class CorruptFragmentError(DicomulusError):
    """Stored metadata fails its length or CRC-32 check."""

    code = "corrupt-fragment"


class DamagedContentError(DicomulusError):
    """The content of an attachment is missing or not what was put."""

    code = "damaged-content"


class CorruptObjectError(DicomulusError):
    """An object that is compressed at rest is not as it was written."""

    code = "corrupt-object"

    def __init__(self, message: str, *, etag: str = "", modified_ms: int = 0) -> None:
        """Say what is wrong, and with which generation of the object where that is known."""
        super().__init__(message)
        self.etag = etag
        self.modified_ms = modified_ms


class AttachmentDamagedError(DicomulusError):
    """The attachment was verified, and is not what was put."""

    code = "attachment-damaged"


class RemoteError(DicomulusError):
    """A server that the command talks to does not do what it is asked."""

    code = "remote"


class RemoteUnavailableError(RemoteError):
    """The server cannot be reached, or goes on being unavailable."""

    code = "remote-unavailable"


class RemoteRefusedError(RemoteError):
    """The server refuses the request."""

    code = "remote-refused"

    def __init__(self, reason: str, *, status: int = 0) -> None:
        """Give what the server says, in one line, and its status if there is one."""
        super().__init__(reason)
        self.status = status


class RemoteAnswerError(RemoteError):
    """The server's answer breaks off or does not parse."""

    code = "remote-answer"


class SourceFileError(DicomulusError):
    """A file that is to be sent cannot be read, or not as it was when it was found."""

    code = "source-file"


class ConfigurationError(DicomulusError):
    """A setting is missing, malformed or contradicts another."""

    code = "configuration"


@contextmanager
def spooling() -> Iterator[None]:
    """Tell of what the system says about a temporary file in the words of this package.

    Raises:
        StorageFullError: There is no room for it.
        UnavailableError: It cannot be written or read.
    """
    try:
        yield
    except OSError as exc:
        raise unavailable(exc, "a temporary file") from exc


def unavailable(error: OSError, what: str) -> UnavailableError:
    """Give the error for something that the system cannot read or write now."""
    kind = StorageFullError if error.errno in _FULL else UnavailableError
    return kind(f"{what}: {error.strerror}")
