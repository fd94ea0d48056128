"""What people are told of an archive's objects: those that are not served, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomulus.services.folds import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """An instance that several objects hold."""

    instance: InstanceResource
    served: str
    """Key of the object that answers come from."""
    others: tuple[str, ...]
    """Keys of the other objects, in order."""


def duplicates(index: Index, instances: Iterable[InstanceResource]) -> Iterator[Duplicates]:
    """Say which object of each instance is served; those that one alone holds are left out."""
    for instance in instances:
        rows = index.get_instance(instance)
        if len(rows) > 1:
            served = choose(rows).object_key
            yield Duplicates(
                instance=instance,
                served=served,
                others=tuple(row.object_key for row in rows if row.object_key != served),
            )
