"""What is attached to a resource while it is deleted does not stay behind, nor come back with it."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.own_keys import ATTACHMENT_PREFIX, DOCUMENT_PREFIX
from dicomulus.errors import IdentifierNotFoundError
from dicomulus.services.identifiers import has_instances
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from tests.support.archives import Small


def filled(folder: Path) -> tuple[Small, InstanceResource]:
    small = small_archive(folder)
    small.take({"1": ct_instance(study_instance_uid="1.2.3", instance_number=1)})
    small.compact()
    return small, small.row_of("1").instance


def attach(small: Small, instance: InstanceResource, read: Callable[[int], bytes]) -> None:
    is_there = partial(has_instances, small.index, instance)
    small.archive.attachments.put(instance, 1024, read, is_there=is_there)


def left(small: Small) -> list[str]:
    prefixes = (ATTACHMENT_PREFIX, DOCUMENT_PREFIX)
    return [info.key for prefix in prefixes for info in small.storage.list(prefix)]


def test_what_is_put_once_the_resource_has_gone_is_taken_back(tmp_path: Path) -> None:
    """Its content takes minutes to come, in which the study is deleted."""
    small, instance = filled(tmp_path)
    content = BytesIO(b"attached")

    def read(length: int) -> bytes:
        small.archive.delete.study("1.2.3")
        return content.read(length)

    with pytest.raises(IdentifierNotFoundError):
        attach(small, instance, read)
    assert left(small) == []


@pytest.mark.parametrize("what", ["attachment", "metadata"])
def test_what_is_put_just_before_the_resource_goes_goes_along(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes has looked for documents when there was none yet."""
    small, instance = filled(tmp_path)
    puts: dict[str, Callable[[], object]] = {
        "attachment": lambda: attach(small, instance, BytesIO(b"a").read),
        "metadata": lambda: small.archive.user_metadata.put(instance, 1024, "a", expected=None),
    }
    delete = small.storage.delete
    is_put = False

    def deleting(key: str, *, if_match: str | None = None) -> None:
        nonlocal is_put
        if key == "1" and not is_put:
            is_put = True
            puts[what]()
        delete(key, if_match=if_match)

    monkeypatch.setattr(small.storage, "delete", deleting)
    small.archive.delete.study("1.2.3")
    assert is_put
    assert left(small) == []
