"""Where in the cache store lies what was derived from a series, besides its bundles."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from dicomulus.dicom.resource import SeriesResource, quote_uid


def pointed_prefix(series: SeriesResource) -> str:
    """Give what the keys of a series' oversized fragments and frame tables begin with."""
    return f"{_POINTED}/{_path_of(series)}/"


_POINTED: Final = "pointed"

_BUNDLES: Final = "bundles"

_THUMBNAILS: Final = "thumbnails"

DERIVED_KINDS: Final = (_BUNDLES, _POINTED, _THUMBNAILS)
"""What the keys of all that is derived from a series begin with, up to a slash."""


def is_pointed(cache_key: str) -> bool:
    """Whether a key is of something that a row points to."""
    return cache_key.startswith(f"{_POINTED}/")


def is_bundle(cache_key: str) -> bool:
    """Whether a key is of a bundle."""
    return cache_key.startswith(f"{_BUNDLES}/")


def is_thumbnail(cache_key: str) -> bool:
    """Whether a key is of a thumbnail."""
    return cache_key.startswith(f"{_THUMBNAILS}/")


def series_of_cache_key(cache_key: str) -> SeriesResource | None:
    """Give the series that something in the cache store was derived from, if it is of one."""
    kind, *rest = cache_key.split("/")
    if kind not in DERIVED_KINDS or len(rest) != 3:
        return None
    return SeriesResource(unquote(rest[0]), unquote(rest[1]))


def thumbnail_prefix(series: SeriesResource) -> str:
    """Give what the keys of a series' thumbnails begin with."""
    return f"{_THUMBNAILS}/{_path_of(series)}/"


def _path_of(series: SeriesResource) -> str:
    return f"{quote_uid(series.study_instance_uid)}/{quote_uid(series.series_instance_uid)}"
