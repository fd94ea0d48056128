"""The icon that stands for what has no image, so that a page need not know before it asks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.api.static_files import Text, text_file
from dicomulus.errors import FrameNotFoundError, NotAcceptableError, ResponseTooLargeError
from dicomulus.wire.media_types import accept_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.api.route import Handler
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

MEDIA_TYPE: Final = "image/svg+xml"

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def or_icon(thumbnail: Handler) -> Handler:
    """Have a thumbnail answer with the icon where there is none, to who names its media type."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        try:
            return thumbnail(archive, request, variables)
        except (FrameNotFoundError, NotAcceptableError, ResponseTooLargeError):
            accept = accept_of(request)
            if not any(r.media_type.essence == MEDIA_TYPE and r.quality > 0 for r in accept):
                raise
            return text_file(request, _icon(), suffix=".svg", policy=_POLICY)

    return answer


@cache
def _icon() -> Text:
    return Text.of((Path(__file__).parent.parent / "pages" / "no-image.svg").read_bytes())
