"""The main tags of one instance: put into its row, and read from it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import INSTANCE_TAGS
from dicomulus.dicom.json_members import tagged_members
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.services.folds import (
    has_bulk_data,
    kept_length,
    levels_digest,
    levels_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.ports import InstanceRow

MAX_FURTHER_BYTES: Final = 65_536
"""Bytes of an instance's further main tags over which its row holds none of them."""

_WITHOUT_VALUE: Final = len('"00200013":{"vr":"IS"}')


def further_of(members: Mapping[str, str], tags: MainTags) -> tuple[bytes, str]:
    """Give ``further`` and ``main_tags`` of an instance's row.

    Where an attribute is too long for rows, the row claims to hold no main tags at all, and they
    are read from the fragment.

    Args:
        members: The members of the instance's complete JSON, each with its tag, by tag.
        tags: The lists to hold.
    """
    if any(len(members.get(tag, "")) > kept_length(tag) for tag in tags.all):
        return b"{}", ""
    told = (
        members[tag]
        for tag in tags.instance_level
        if tag in members and _is_further(tag, members[tag])
    )
    further = ("{" + ",".join(told) + "}").encode("utf-8", "replace")
    return (b"{}", "") if len(further) > MAX_FURTHER_BYTES else (further, tags.name)


def _is_further(tag: str, member: str) -> bool:
    # A search answers required attributes also where the instance does not have them, so those
    # that it has without value are told here.
    if tag in INSTANCE_TAGS and len(member) != _WITHOUT_VALUE:
        return False
    return is_main(member)


def is_main(member: str) -> bool:
    """Whether an attribute can be a main tag: all of it is in the JSON."""
    if '"BulkDataURI"' not in member:
        return True
    return not any(map(has_bulk_data, parse_json_object("{" + member + "}").values()))


def instance_members(row: InstanceRow) -> dict[str, str]:
    """Give the instance-level main tags that a row holds, each with its tag, by tag."""
    held = {
        tag: member
        for tag, member in tagged_members(row.attributes).items()
        if tag in INSTANCE_TAGS and len(member) != _WITHOUT_VALUE
    }
    return held | tagged_members(row.further)


def main_members(text: bytes, tags: MainTags) -> dict[str, str]:
    """Give all main tags of an instance's complete JSON, each with its tag, by tag."""
    found = tagged_members(text)
    return {tag: found[tag] for tag in found if tag in tags.all and is_main(found[tag])}


def renewed(row: InstanceRow, text: bytes, tags: MainTags) -> InstanceRow:
    """Make a row anew for other lists, of the instance's complete JSON."""
    members = tagged_members(text)
    further, name = further_of(members, tags)
    levels = parse_json_object(levels_text(members, tags))
    return replace(row, further=further, main_tags=name, levels_digest=levels_digest(levels, tags))
