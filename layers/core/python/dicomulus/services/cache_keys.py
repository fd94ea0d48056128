"""Where in the cache store lies what was derived from a series, besides its bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.dicom.resource import quote_uid

if TYPE_CHECKING:
    from dicomulus.dicom.resource import SeriesResource


def pointed_prefix(series: SeriesResource) -> str:
    """Give what the keys of a series' oversized fragments and frame tables begin with."""
    return f"pointed/{_path_of(series)}/"


def thumbnail_prefix(series: SeriesResource) -> str:
    """Give what the keys of a series' thumbnails begin with."""
    return f"thumbnails/{_path_of(series)}/"


def _path_of(series: SeriesResource) -> str:
    return f"{quote_uid(series.study_instance_uid)}/{quote_uid(series.series_instance_uid)}"
