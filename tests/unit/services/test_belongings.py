"""What belongs to resources goes with them when they are deleted, and never otherwise."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.content_uuids import new_content_uuid
from dicomulus.dicom.own_keys import (
    ATTACHMENT_PREFIX,
    DELETION_PREFIX,
    DOCUMENT_PREFIX,
    attachment_key,
    document_key,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import ConfigurationError, ObjectChangedError
from dicomulus.services.belongings import NOTE_LIVES_MS, UNDER_WAY_MS
from dicomulus.services.findings import Checked, Finding
from dicomulus.services.own_objects import CONTENT_AGE_MS
from dicomulus.services.wishes import Wishes
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.resource import Resource
    from tests.support.archives import Small

STUDY, OTHER_STUDY = "1.2.3", "9.9"
SERIES, OTHER_SERIES = SeriesResource(STUDY, "1.2.3.1"), SeriesResource(STUDY, "1.2.3.2")
PATIENT = PatientResource("P-0001")
OBJECTS = {
    "1": ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.1", instance_number=1),
    "2": ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.1", instance_number=2),
    "3": ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.2", instance_number=3),
    "4": ct_instance(study_instance_uid=OTHER_STUDY, instance_number=4),
}


def attach(small: Small, resource: Resource, content: bytes = b"attached") -> None:
    small.archive.attachments.put(resource, 1024, BytesIO(content).read)


def documented(small: Small, resources: dict[str, Resource]) -> set[str]:
    """Give the names of the resources that still have a document, in storage area and index."""
    keys = {name: document_key(resource) for name, resource in resources.items()}
    stored = {info.key for info in small.storage.list(DOCUMENT_PREFIX)}
    assert stored == set(small.index.get_documents(keys.values()))
    assert stored <= set(keys.values())
    return {name for name, key in keys.items() if key in stored}


def own(small: Small, prefix: str) -> list[str]:
    return [info.key for info in small.storage.list(prefix)]


def run(small: Small, wishes: Wishes | None = None) -> Any:
    listed = list(small.storage.list())
    return small.archive.reconcile.compare_objects(listed, wishes or Wishes())


def age(small: Small, milliseconds: int) -> None:
    small.clock.now_ms += milliseconds


def filled(folder: Path, **options: Any) -> tuple[Small, dict[str, Resource]]:
    """Make an archive in which every resource has an attachment."""
    folder.mkdir(exist_ok=True)
    small = small_archive(folder, **options)
    small.take(OBJECTS)
    small.compact()
    resources: dict[str, Resource] = {
        "patient": PATIENT,
        "study": STUDY,
        "series": SERIES,
        "other series": OTHER_SERIES,
        "other study": OTHER_STUDY,
        **{name: small.row_of(name).instance for name in OBJECTS},
    }
    for resource in resources.values():
        attach(small, resource)
    return small, resources


def first(resources: dict[str, Resource], name: str = "1") -> InstanceResource:
    instance = resources[name]
    assert isinstance(instance, InstanceResource)
    return instance


def test_an_instance_takes_its_own_along(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    small.archive.delete.instance(first(resources))
    assert documented(small, resources) == set(resources) - {"1"}
    assert len(own(small, ATTACHMENT_PREFIX)) == len(resources) - 1
    assert own(small, DELETION_PREFIX) == []


def test_the_last_instance_takes_what_is_above_it_along(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    small.archive.delete.instance(first(resources, "3"))
    assert documented(small, resources) == set(resources) - {"3", "other series"}
    small.archive.delete.series(SERIES)
    assert documented(small, resources) == {"patient", "other study", "4"}
    small.archive.delete.study(OTHER_STUDY)
    assert documented(small, resources) == set()
    assert own(small, "dicomulus/") == []


def test_a_study_takes_all_below_it_along(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    small.archive.delete.study(STUDY)
    assert documented(small, resources) == {"patient", "other study", "4"}


def test_objects_that_vanish_leave_what_belongs_to_them(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    for name in OBJECTS:
        small.storage.delete(name)
    small.look_at(OBJECTS)
    small.compact()
    age(small, 2 * CONTENT_AGE_MS)
    assert run(small).counts[Finding.UNNAMED] == 0
    assert documented(small, resources) == set(resources)
    small.take(OBJECTS)
    assert small.archive.attachments.numbers(first(resources)) == [1, 1024]


def test_an_object_that_was_replaced_meanwhile_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    changed = ct_instance(
        study_instance_uid=STUDY,
        series_instance_uid="1.2.3.1",
        instance_number=1,
        attributes={"ImageComments": "another one"},
    )
    small.storage.put("1", changed)
    with pytest.raises(ObjectChangedError):
        small.archive.delete.study(STUDY)
    kept = {"1", "series", "study", "patient", "other study", "4"}
    assert documented(small, resources) == kept
    small.archive.delete.study(STUDY)
    assert documented(small, resources) == {"patient", "other study", "4"}


def test_deletion_of_what_has_nothing_attached_writes_no_note(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take(OBJECTS)
    _, calls = small.ledger.of(lambda: small.archive.delete.study(STUDY))
    writes = [c for c in calls if c.port == "storage" and c.operation in ("put", "list")]
    assert writes == []


class Forbidding:
    """A store that may not be written to, or not be deleted from."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in self.refused:
            raise ConfigurationError("S3: AccessDenied")
        return getattr(self._store, name)


def forbidding(folder: Path) -> tuple[Small, dict[str, Resource], Forbidding]:
    held: list[Forbidding] = []

    def around(store: Any) -> Any:
        held.append(Forbidding(store))
        return held[0]

    return *filled(folder, storage=around), held[0]


def test_who_may_delete_and_not_write_deletes_all_the_same(tmp_path: Path) -> None:
    small, resources, store = forbidding(tmp_path)
    store.refused = {"put"}
    small.archive.delete.study(STUDY)
    assert documented(small, resources) == {"patient", "other study", "4"}


def test_who_may_not_delete_replaces_attachments_and_leaves_contents_to_others(
    tmp_path: Path,
) -> None:
    small, resources, store = forbidding(tmp_path)
    store.refused = {"delete"}
    attach(small, STUDY, b"new")
    small.archive.attachments.delete(SERIES, 1024)
    age(small, CONTENT_AGE_MS + 1)
    assert run(small).counts[Finding.UNNAMED] == 2
    store.refused = set()
    assert run(small).counts[Finding.UNNAMED] == 2
    assert run(small).counts[Finding.UNNAMED] == 0
    assert len(own(small, ATTACHMENT_PREFIX)) == len(resources) - 1


# --- deletions that are cut off ------------------------------------------------------------------


def cut_off(
    folder: Path, delete: Callable[[Small, dict[str, Resource]], None]
) -> list[tuple[Small, dict[str, Resource]]]:
    """Give archives in which a deletion died before its first call, its second, and so on."""
    archives = []
    for calls in range(0, 1000, 2):
        crashes = Crashes()
        small, resources = filled(folder / str(calls), index=crashes.around, storage=crashes.around)
        done = crashes.is_finished(
            lambda s=small, r=resources: delete(s, r),  # type: ignore[misc]
            calls=calls,
        )
        archives.append((small, resources))
        if done:
            return archives
    raise AssertionError("it never ends")


def check_nothing_lost(small: Small, resources: dict[str, Resource]) -> None:
    """Whatever can be asked for still has what is attached to it."""
    # Events come late, if a process that would have done without them has ended.
    small.look_at([*OBJECTS, *map(document_key, resources.values())])
    there = {name for name, each in resources.items() if small.archive.belongings.is_there(each)}
    assert there <= documented(small, resources)
    for name in there:
        assert 1024 in small.archive.attachments.numbers(resources[name])
        small.archive.attachments.read(
            resources[name], 1024, lambda _, content: b"".join(content.chunks)
        )


def test_an_instance_whose_deletion_is_cut_off_goes_when_it_is_deleted_again(
    tmp_path: Path,
) -> None:
    def delete(small: Small, resources: dict[str, Resource]) -> None:
        small.archive.delete.instance(first(resources, "4"))

    for small, resources in cut_off(tmp_path, delete):
        check_nothing_lost(small, resources)
        age(small, UNDER_WAY_MS)
        delete(small, resources)
        delete(small, resources)
        age(small, CONTENT_AGE_MS)
        run(small)
        assert documented(small, resources) == set(resources) - {"4", "other study"}
        assert len(own(small, ATTACHMENT_PREFIX)) == len(resources) - 2
        assert own(small, DELETION_PREFIX) == []


def test_a_deletion_that_is_cut_off_is_finished_by_reconcile_alone(tmp_path: Path) -> None:
    """What was deleted has nothing left; what was not, everything."""
    for small, resources in cut_off(
        tmp_path, lambda small, _: small.archive.delete.study(OTHER_STUDY)
    ):
        check_nothing_lost(small, resources)
        is_there = small.archive.belongings.is_there(OTHER_STUDY)
        age(small, NOTE_LIVES_MS + CONTENT_AGE_MS)
        run(small)
        gone = set() if is_there else {"4", "other study"}
        assert documented(small, resources) == set(resources) - gone
        assert len(own(small, ATTACHMENT_PREFIX)) == len(resources) - len(gone)
        assert own(small, DELETION_PREFIX) == []
        assert run(small).counts[Finding.UNFINISHED] == 0


def test_a_deletion_that_may_be_under_way_is_left_to_whoever_is_at_it(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    with small.archive.belongings.going_with([STUDY]):
        assert run(small).counts[Finding.UNFINISHED] == 0
        assert len(own(small, DELETION_PREFIX)) == 1
    assert documented(small, resources) == set(resources)
    assert own(small, DELETION_PREFIX) == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{}",
        b'[["Study"]]',
        b'[["Study", 5]]',
        b'[["Nothing", "1.2"]]',
        b"[[]]",
        b"[" * 100_000,
    ],
)
def test_a_note_that_does_not_parse_takes_nothing_away(tmp_path: Path, text: bytes) -> None:
    small, resources = filled(tmp_path)
    small.storage.put(f"{DELETION_PREFIX}x.json", text)
    age(small, NOTE_LIVES_MS + 1)
    assert run(small).counts[Finding.UNFINISHED] == 1
    assert documented(small, resources) == set(resources)
    assert own(small, DELETION_PREFIX) == []


# --- contents that nobody names ------------------------------------------------------------------


def left_over(small: Small, resource: Resource = STUDY) -> str:
    """Put a content as a writer does that dies before it comes to the document."""
    key = attachment_key(new_content_uuid(resource))
    small.storage.put(key, b"left over")
    return key


def test_a_content_that_no_document_names_goes_when_it_is_old(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    key = left_over(small)
    age(small, CONTENT_AGE_MS - 1000)
    assert run(small).counts[Finding.UNNAMED] == 0
    age(small, 2000)
    assert list(run(small, Wishes(repair=False)).found[Finding.UNNAMED]) == [key]
    assert key in own(small, ATTACHMENT_PREFIX)
    findings = run(small)
    assert list(findings.found[Finding.UNNAMED]) == [key]
    assert findings.checked[Checked.CONTENTS] == len(resources) + 1
    assert key not in own(small, ATTACHMENT_PREFIX)
    assert len(own(small, ATTACHMENT_PREFIX)) == len(resources)
    assert run(small).is_clean


def test_a_content_whose_document_is_gone_is_left_over(tmp_path: Path) -> None:
    small, _ = filled(tmp_path)
    small.archive.documents.remove(STUDY)
    age(small, CONTENT_AGE_MS + 1)
    assert run(small).counts[Finding.UNNAMED] == 1


def test_a_content_whose_document_is_damaged_is_kept(tmp_path: Path) -> None:
    small, resources = filled(tmp_path)
    small.storage.put(document_key(STUDY), b"damaged")
    age(small, CONTENT_AGE_MS + 1)
    assert run(small).counts[Finding.UNNAMED] == 0
    assert len(own(small, ATTACHMENT_PREFIX)) == len(resources)


def test_a_content_under_a_uuid_from_elsewhere_is_kept(tmp_path: Path) -> None:
    small, _ = filled(tmp_path)
    key = attachment_key("6e0a4a5c-1f0e-4c5e-9a3b-0123456789ab")
    small.storage.put(key, b"imported")
    age(small, CONTENT_AGE_MS + 1)
    assert run(small).counts[Finding.UNNAMED] == 0
    assert key in own(small, ATTACHMENT_PREFIX)


def test_what_an_old_listing_tells_of_a_content_is_looked_at_again(tmp_path: Path) -> None:
    """A writer that puts a content again, after a day, is overtaken by nobody."""
    small, _ = filled(tmp_path)
    key = left_over(small)
    age(small, CONTENT_AGE_MS + 1)
    listed = list(small.storage.list(ATTACHMENT_PREFIX))
    small.storage.put(key, b"left over")
    findings = small.archive.reconcile.compare_objects(listed, Wishes())
    assert findings.counts[Finding.UNNAMED] == 0
    assert key in own(small, ATTACHMENT_PREFIX)


def test_contents_are_found_without_an_index(tmp_path: Path) -> None:
    """A run over an index that was lost, and is not made again yet, takes nothing away."""
    small, resources = filled(tmp_path)
    (tmp_path / "empty").mkdir()
    empty = small_archive(tmp_path / "empty", storage=lambda _: small.storage)
    empty.clock.now_ms = small.clock.now_ms + 2 * CONTENT_AGE_MS
    empty.archive.reconcile.compare_objects(list(small.storage.list()), Wishes())
    assert len(own(small, ATTACHMENT_PREFIX)) == len(resources)
    assert len(own(small, DOCUMENT_PREFIX)) == len(resources)
