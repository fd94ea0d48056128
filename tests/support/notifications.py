"""A bucket's notification configuration as S3 keeps it: a document that is written as a whole."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EMPTY = b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'

OTHERS = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<QueueConfiguration><Id>theirs</Id><Queue>arn:aws:sqs:eu-central-1:123456789012:q</Queue>"
    b"<Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>Prefix</Name>"
    b"<Value>M\xc3\xbcller &amp; &lt;S\xc3\xb6hne&gt;/</Value></FilterRule></S3Key></Filter>"
    b"</QueueConfiguration>"
    # Whatever S3 has learnt after this version of the library was made.
    b"<HologramConfiguration><Id>new</Id><Hologram a='1'>x</Hologram></HologramConfiguration>"
    b"</NotificationConfiguration>"
)
"""What somebody else has told a bucket."""

TELLS_EVENT_BRIDGE = OTHERS.replace(
    b"</NotificationConfiguration>",
    b"<EventBridgeConfiguration/></NotificationConfiguration>",
)


@dataclass(slots=True)
class NotificationDocument:
    """The document, and what happens to it between the requests of whoever changes it.

    moto gives the document without the element for EventBridge, so that it cannot play this.
    """

    text: bytes = EMPTY
    requests: list[str] = field(default_factory=list)
    before: dict[int, Callable[[NotificationDocument], None]] = field(default_factory=dict)
    """What somebody else does before the request of a number, from 0."""
    after: dict[int, Callable[[NotificationDocument], None]] = field(default_factory=dict)

    @contextmanager
    def of(self, client: Any) -> Iterator[None]:
        """Answer the requests of a client for the document, whatever the bucket."""
        handlers = {
            "before-send.s3.GetBucketNotificationConfiguration": self._get,
            "before-send.s3.PutBucketNotificationConfiguration": self._put,
        }
        for event, handler in handlers.items():
            client.meta.events.register_first(event, handler)
        try:
            yield
        finally:
            for event, handler in handlers.items():
                client.meta.events.unregister(event, handler)

    def _get(self, request: Any, **_: Any) -> AWSResponse:
        with self._numbered("GET"):
            return response_of(request, self.text)

    def _put(self, request: Any, **_: Any) -> AWSResponse:
        with self._numbered("PUT"):
            assert request.headers["x-amz-expected-bucket-owner"]
            self.text = request.body
            return response_of(request, b"")

    @contextmanager
    def _numbered(self, method: str) -> Iterator[None]:
        number = len(self.requests)
        self.requests.append(method)
        self.before.get(number, _nothing)(self)
        yield
        self.after.get(number, _nothing)(self)


def _nothing(document: NotificationDocument) -> None:
    """Do nothing."""


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._content


def response_of(request: Any, content: bytes, *, status: int = 200) -> AWSResponse:
    """Answer a request that moto, which sees it too, is not to understand."""
    url, request.url = request.url, "http://elsewhere.invalid/"
    return AWSResponse(url, status, HTTPHeaders(), _Raw(content))
