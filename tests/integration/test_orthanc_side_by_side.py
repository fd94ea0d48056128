"""The same requests, asked of a real Orthanc and of this server, have the same answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.orthanc_comparison import Server, differences
from tests.support.orthanc_corpus import broken_files, compared_files
from tests.support.orthanc_differences import differences_of
from tests.support.orthanc_questions import Question, groups
from tests.support.real_orthanc import ABSENT, PROGRAM, real_orthanc
from tests.support.serving import eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.orthanc_comparison import Difference
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=ABSENT)

GROUPS: Final = (
    *("changes", "system", "lists", "resources", "tags", "files", "frames", "archives", "find"),
    *("lookup", "bulk", "metadata", "attachments", "statistics", "labels", "wrong", "deletion"),
)
"""Groups of requests, in the order in which they are asked; the last one deletes."""

_SETTINGS: Final = {
    "DICOMULUS_STABLE_AGE_SECONDS": "1",
    "DICOMULUS_METADATA_NAMES": "my-note=1030",
    "DICOMULUS_ATTACHMENT_NAMES": "my-report=1040",
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Orthanc with the files."""
    with real_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        server = Server(running.url)
        yield server
        server.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """This server."""
    folder = tmp_path_factory.mktemp("ours")
    (folder / "scans").mkdir()
    options = ("--data-dir", folder / "data", "--allow-store", "--allow-delete")
    with serving(folder / "scans", *options, log=folder / "log", **_SETTINGS) as served:
        server = Server(served.base_url.replace("/dicom-web", "/orthanc"))
        yield server
        server.close()


@pytest.fixture(scope="module")
def rules(theirs: Server) -> Sequence[Difference]:
    """In what this version of Orthanc must differ."""
    return differences_of(theirs.ask(Question("/system")).body["Version"])


@pytest.fixture(scope="module")
def uploaded(
    theirs: Server, ours: Server, rules: Sequence[Difference]
) -> Mapping[str, Mapping[str, str]]:
    """What Orthanc has answered to each file, of which both have all."""
    answers = {}
    for name, content in (compared_files() | {"again": compared_files()["a1-1"]}).items():
        question = Question("/instances", "POST", content)
        answer, other = theirs.ask(question), ours.ask(question)
        assert not differences(answer, other, question, rules=rules), name
        answers[name] = answer.body
    answers.pop("again")
    for server in (theirs, ours):
        eventually(partial(_is_settled, server, answers), "everything is stable")
    return answers


def _is_settled(server: Server, uploaded: Mapping[str, Mapping[str, str]]) -> bool:
    paths = {f"/patients/{answer['ParentPatient']}" for answer in uploaded.values()}
    answers = (server.ask(Question(path)) for path in paths)
    return all(answer.status == 200 and answer.body["IsStable"] for answer in answers)


def has_labels(server: Server) -> bool:
    return "HasLabels" in server.ask(Question("/system")).body


def test_all_groups_are_asked(uploaded: Mapping[str, Mapping[str, str]]) -> None:
    assert set(groups(uploaded)) == set(GROUPS)


def test_both_refuse_what_is_no_instance(
    theirs: Server, ours: Server, rules: Sequence[Difference]
) -> None:
    for name, content in broken_files().items():
        question = Question("/instances", "POST", content)
        answers = theirs.ask(question), ours.ask(question)
        assert not differences(*answers, question, rules=rules), name


@pytest.mark.parametrize("group", GROUPS)
def test_both_answer_alike(
    theirs: Server,
    ours: Server,
    uploaded: Mapping[str, Mapping[str, str]],
    rules: Sequence[Difference],
    group: str,
) -> None:
    """Each group leaves what it found, but for the last, which deletes.

    A failure is mended here, or is a rule of ``orthanc_differences`` with its reason.
    """
    if group == "labels" and not has_labels(theirs):
        pytest.skip("this Orthanc is older than 1.12, and has no labels")
    found: list[str] = []
    for question in groups(uploaded)[group]:
        places = differences(theirs.ask(question), ours.ask(question), question, rules=rules)
        found.extend(f"{question}: {place}" for place in places)
    assert not found, "\n".join(found)
