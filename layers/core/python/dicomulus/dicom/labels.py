"""Labels of resources, and what a search may ask of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_LABEL: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


def is_label(text: str) -> bool:
    """Whether a text may be a label: letters, digits, ``_`` and ``-``, 64 at most, as Orthanc's."""
    return _LABEL.fullmatch(text) is not None


class LabelsConstraint(StrEnum):
    """How many of the labels a resource must have, by Orthanc's names."""

    ALL = "All"
    ANY = "Any"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class LabelKey:
    """Labels that the resources found have, or have not."""

    labels: tuple[str, ...]
    """Each once."""
    constraint: LabelsConstraint = LabelsConstraint.ALL

    def matches(self, labels: Collection[str]) -> bool:
        """Whether a resource with these labels is one of those asked for."""
        has = [label in labels for label in self.labels]
        if self.constraint is LabelsConstraint.ALL:
            return all(has)
        return any(has) is (self.constraint is LabelsConstraint.ANY)
