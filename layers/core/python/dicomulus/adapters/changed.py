"""What both indexes do alike with changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import PatientResource, resource_of, uids_of
from dicomulus.ports import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.ports import Change, ChangedResource

_PATIENT: Final = "patient"


def format_changed(resource: ChangedResource) -> str:
    """Write a resource as JSON: its UIDs from the study down, or the patient by name."""
    if isinstance(resource, PatientResource):
        return json.dumps({_PATIENT: resource.patient_id}, ensure_ascii=False)
    return json.dumps(uids_of(resource), ensure_ascii=False, separators=(",", ":"))


def parse_changed(text: str) -> ChangedResource:
    """Read what ``format_changed`` wrote."""
    content = json.loads(text)
    if isinstance(content, dict):
        return PatientResource(content[_PATIENT])
    return resource_of(content)


def page_of(changes: Iterable[Change], *, limit: int, backwards: bool) -> Page[Change]:
    """Make a page of changes in the order they were read in, one more than it holds if any."""
    read = tuple(changes)
    page = read[:limit]
    if backwards:
        page = page[::-1]
    if len(read) <= limit:
        return Page(page)
    # The one more is where the next page begins.
    more = read[-1].sequence
    return Page(page, str(more if backwards else (page[-1].sequence if page else more - 1)))
