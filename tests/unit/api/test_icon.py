"""An icon stands for what has no image, for who names its media type (PS3.18 §10.4.1.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from dicomulus.api.icon import or_icon
from dicomulus.errors import FrameNotFoundError, NotAcceptableError, StudyNotFoundError
from dicomulus.wire.message import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.errors import DicomulusError
    from dicomulus.services.archive import Archive

NONE = cast("Archive", None)
ICON = (("accept", "image/jpeg,image/svg+xml;q=0.5"),)


def failing(error: DicomulusError) -> Response:
    def thumbnail(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        raise error

    return or_icon(thumbnail)(NONE, Request("GET", "/", query=ICON), {})


@pytest.mark.parametrize("error", [FrameNotFoundError("none"), NotAcceptableError("a video")])
def test_what_has_no_image_has_an_icon(error: DicomulusError) -> None:
    response = failing(error)
    assert response.status == 200
    assert response.header("Content-Type") == "image/svg+xml"
    assert b"<svg" in cast("bytes", response.body)


def test_what_is_not_there_has_none() -> None:
    with pytest.raises(StudyNotFoundError):
        failing(StudyNotFoundError("no such study"))


@pytest.mark.parametrize("accept", ["image/jpeg", "image/*", "*/*", "image/svg+xml;q=0"])
def test_who_does_not_name_it_is_told_that_there_is_no_image(accept: str) -> None:
    def thumbnail(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        raise FrameNotFoundError("none")

    with pytest.raises(FrameNotFoundError):
        or_icon(thumbnail)(NONE, Request("GET", "/", query=(("accept", accept),)), {})


def test_an_image_is_given_as_it_is() -> None:
    image = Response(200, body=b"image")
    assert or_icon(lambda *_: image)(NONE, Request("GET", "/", query=ICON), {}) is image
