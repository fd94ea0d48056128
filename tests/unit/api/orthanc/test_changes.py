"""The log of changes is asked for and answered as Orthanc's is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.orthanc_id import level_of
from dicomulus.errors import InvalidQueryError, MethodNotAllowedError
from tests.support.archives import small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

INSTANCES = 12


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A study of one instance, then one of a dozen: 4 changes, then 15."""
    small = small_archive(tmp_path, orthanc_path="/orthanc", stable_age_seconds=60)
    take(small, "a", 1)
    take(small, "b", INSTANCES)
    return small


def take(small: Small, patient: str, instances: int) -> None:
    small.take(
        {
            f"{patient}/{number}": ct_instance(patient_id=patient, instance_number=number)
            for number in range(1, instances + 1)
        }
    )
    small.compact()


def ask(small: Small, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = small.orthanc_json(f"/changes{query}")
    return answer


def sequences(answer: dict[str, Any]) -> list[int]:
    return [each["Seq"] for each in answer["Changes"]]


def test_an_empty_log_is_done(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    assert ask(small) == ask(small, "?last") == {"Changes": [], "Done": True, "Last": 0}


def test_a_change_has_the_members_of_orthanc(small: Small) -> None:
    changes = ask(small, "?limit=4")["Changes"]
    assert [each["ChangeType"] for each in changes] == [
        "NewInstance",
        "NewSeries",
        "NewStudy",
        "NewPatient",
    ]
    assert [each["ResourceType"] for each in changes] == [
        "Instance",
        "Series",
        "Study",
        "Patient",
    ]
    for each, level in zip(changes, ("instances", "series", "studies", "patients"), strict=True):
        assert list(each) == ["ChangeType", "Date", "ID", "Path", "ResourceType", "Seq"]
        assert each["Path"] == f"/{level}/{each['ID']}"
        assert each["Date"] == "20231114T221320"
        resource = small.index.find_identifier(each["ID"])
        assert resource is not None
        assert level_of(resource) == each["ResourceType"]


def test_a_page_has_a_hundred_or_as_many_as_asked_for(small: Small) -> None:
    assert sequences(ask(small)) == list(range(1, 20))
    page = ask(small, "?limit=5")
    assert (sequences(page), page["Done"]) == ([1, 2, 3, 4, 5], False)
    assert (page["First"], page["Last"]) == (1, 5)
    assert sequences(ask(small, "?since=17&limit=5")) == [18, 19]


def test_a_poller_sees_every_change_once(small: Small) -> None:
    seen: list[int] = []
    last, done = 0, False
    while not done:
        page = ask(small, f"?since={last}&limit=4")
        seen += sequences(page)
        last, done = page["Last"], page["Done"]
    assert seen == list(range(1, 20))
    take(small, "c", 1)
    assert sequences(ask(small, f"?since={last}")) == [20, 21, 22, 23]


def test_the_last_change(small: Small) -> None:
    page = ask(small, "?last")
    assert (sequences(page), page["Done"], page["Last"]) == ([19], True, 19)


def test_behind_the_end_is_nothing_and_the_end_is_told(small: Small) -> None:
    assert ask(small, "?since=19") == {"Changes": [], "Done": True, "Last": 19}
    assert ask(small, f"?since={10**29}") == {"Changes": [], "Done": True, "Last": 19}


def test_types_are_picked_out(small: Small) -> None:
    page = ask(small, "?type=NewInstance&since=4&limit=1000")
    assert (len(page["Changes"]), page["Done"]) == (INSTANCES, True)
    page = ask(small, "?type=NewInstance&since=4&limit=10")
    assert (len(page["Changes"]), page["Done"]) == (10, False)
    assert sequences(ask(small, "?type=NewPatient;NewInstance&limit=2")) == [1, 4]
    assert ask(small, "?type=StableStudy") == {"Changes": [], "Done": True, "Last": 19}


def test_types_that_orthanc_alone_has_are_never_there(small: Small) -> None:
    empty = {"Changes": [], "Done": True, "Last": 19}
    assert ask(small, "?type=CompletedSeries") == empty
    assert len(ask(small, "?type=CompletedSeries;NewStudy")["Changes"]) == 2


def test_a_type_that_nobody_has_is_refused(small: Small) -> None:
    with pytest.raises(InvalidQueryError):
        ask(small, "?type=NewStudy;Newer")


def test_between_two_sequences_it_goes_forwards(small: Small) -> None:
    page = ask(small, "?type=NewInstance&since=4&to=14&limit=10")
    assert (sequences(page), page["Done"]) == (list(range(5, 15)), True)
    page = ask(small, "?since=4&to=14&limit=3")
    assert (sequences(page), page["Done"]) == ([5, 6, 7], False)


def test_up_to_a_sequence_alone_it_goes_backwards(small: Small) -> None:
    page = ask(small, "?to=16&limit=3&type=NewInstance")
    assert (sequences(page), page["Done"]) == ([14, 15, 16], False)
    assert (page["First"], page["Last"]) == (14, 16)
    before = ask(small, f"?to={page['First'] - 1}&limit=100&type=NewInstance")
    assert (sequences(before), before["Done"]) == ([1, *range(5, 14)], True)


def test_what_is_no_number_is_taken_for_none(small: Small) -> None:
    assert sequences(ask(small, "?since=x&limit=-1&to=y")) == list(range(1, 20))
    page = ask(small, "?limit=0")
    assert (sequences(page), page["Done"]) == ([], False)


def test_what_is_gone_still_has_its_identifier(small: Small) -> None:
    instance = ask(small, "?limit=1")["Changes"][0]["ID"]
    small.storage.delete("a/1")
    small.look_at(["a/1"])
    small.compact()
    changes = ask(small, "?since=19")["Changes"]
    assert [each["ChangeType"] for each in changes] == ["Deleted"] * 4
    assert changes[0]["ID"] == instance
    assert changes[3]["ResourceType"] == "Patient"


def test_the_log_says_which_one_it_is(small: Small) -> None:
    name = small.orthanc("/changes").header("Dicomulus-Log")
    assert name
    assert small.orthanc("/changes?since=5").header("Dicomulus-Log") == name


def test_the_log_is_not_cleared(small: Small) -> None:
    with pytest.raises(MethodNotAllowedError):
        small.orthanc("/changes", method="DELETE")


def test_a_poll_costs_no_more_than_two_reads(small: Small) -> None:
    _, calls = small.ledger.of(lambda: ask(small, "?since=19"))
    assert sorted(call.operation for call in calls) == ["changes", "log_state"]
