"""What is known to be damaged: noted whoever verifies, told once whatever crashes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.own_keys import attachment_key
from dicomulus.errors import ConfigurationError
from dicomulus.ports import ChangeType, ObjectInfo
from dicomulus.services.changes import Changes
from dicomulus.services.damage import Damages
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

STUDY = "1.2"
FIRST = ObjectInfo(key="a", etag="1", size=1, modified_ms=1)
SECOND = ObjectInfo(key="a", etag="2", size=1, modified_ms=2)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = small_archive(tmp_path)
    small.take({"x": ct_instance(study_instance_uid=STUDY)})
    small.compact()
    return small


def told(small: Small) -> list[Any]:
    every = small.index.changes(limit=100).items
    return [each.resource for each in every if each.type is ChangeType.DAMAGED_OBJECT]


def test_each_generation_of_an_object_is_told_once(small: Small) -> None:
    damages = small.archive.damages
    for info in (FIRST, FIRST, SECOND, SECOND):
        damages.found(info, STUDY)
    assert told(small) == [STUDY, STUDY]
    assert [each.object_etag for each in small.index.damages().items] == ["2"]


def test_who_dies_between_noting_and_telling_is_made_good_by_the_next(small: Small) -> None:
    class Dying(Changes):
        def record_damaged(self, *_: Any, **__: Any) -> bool:
            raise KeyboardInterrupt

    dying = Damages(
        small.index,
        small.storage,
        changes=Dying(small.index, clock_ms=small.clock),
        clock_ms=small.clock,
    )
    with pytest.raises(KeyboardInterrupt):
        dying.found(FIRST, STUDY)
    assert told(small) == []
    for _ in range(2):
        small.archive.damages.found(FIRST, STUDY)
    assert told(small) == [STUDY]


def test_who_may_not_delete_leaves_it_to_who_reconciles(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.archive.damages.found(FIRST, STUDY)

    def refuse(*_: object) -> None:
        raise ConfigurationError("AccessDenied")

    with monkeypatch.context() as patched:
        patched.setattr(small.index, "clear_damage", refuse)
        small.archive.damages.is_sound("a")
    assert small.index.damages().items
    small.archive.damages.clear_gone()
    assert not small.index.damages().items


def test_a_content_that_is_verified_on_demand_is_known_to_be_damaged(small: Small) -> None:
    attachments = small.archive.attachments
    entry = attachments.put(STUDY, 1030, io.BytesIO(b"content").read)
    key = attachment_key(entry.uuid)
    good = small.storage.get(key).data
    small.storage.put(key, b"c0ntent")
    for _ in range(2):
        assert not attachments.verify(STUDY, 1030)
    assert [each.object_key for each in small.archive.damages.now()] == [key]
    assert told(small) == [STUDY]
    small.storage.put(key, good)
    assert attachments.verify(STUDY, 1030)
    assert not small.index.damages().items
