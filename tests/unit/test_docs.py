"""The documents name only what exists, say all of it, and cite the standard in one form."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import MAX_STORE_BYTES, MAX_STREAM_BYTES
from dicomulus.api.orthanc.routes import ORTHANC_ROUTES
from dicomulus.api.routes import ROUTES
from dicomulus.cli.emulate.system import CREDENTIALS
from dicomulus.cli.main import main
from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    PATIENT_FURTHER,
    PATIENT_RETURN,
    SERIES_FURTHER,
    SERIES_RETURN,
    STUDY_FURTHER,
    STUDY_RETURN,
)
from dicomulus.dicom.dictionary import tag_from_keyword
from dicomulus.dicom.matching import WILDCARD_VRS
from dicomulus.dicom.query import PARAMETERS, STUDIES, parse_search
from dicomulus.dicom.resource import MAX_UID_PART_LENGTH
from dicomulus.dicom.store_report import FailureReason
from dicomulus.errors import DicomulusError
from dicomulus.services.search_keys import CARRIED_TAGS, PATH_BY_TAG
from dicomulus.services.search_order import MAX_SORTED
from dicomulus.settings import PREFIX, Settings
from dicomulus.wire.media_types import FRAME_MEDIA_TYPES
from dicomulus.wire.problem import status_of, unexpected_problem
from tests.support.emulators import EMULATOR_FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
ANCHOR = re.compile(r"\]\(([^):#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"`make ([a-z0-9-]+)")
BARE_SECTION = re.compile(r"\bPS3\.\d+ (?:[A-Z]\.)?\d[\d.]*")
TEST_FILE = re.compile(r"`(tests/[\w/]+(?:\.py|/)?)`")
MODULE = re.compile(r"`(dicomulus(?:\.[a-z_0-9]+)+)`")
NUMBERED = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def text_of(*path: str) -> str:
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def by_path(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def section(text: str, heading: str) -> str:
    """What stands below a heading and above the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading}"
    return found.group(1)


def rows_of(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, heads left out."""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_row = line.startswith("|") and not re.fullmatch(r"[| -]+", line)
        if is_row and not re.fullmatch(r"\|[| -]+", following):
            yield [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*## ", text_of("Makefile"), flags=re.MULTILINE))


@pytest.fixture(scope="module")
def conformance() -> str:
    return text_of("docs", "conformance.md")


@pytest.fixture(scope="module")
def configuration() -> str:
    return text_of("docs", "configuration.md")


# --- what documents name --------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_links_to_headings_lead_to_one(document: Path) -> None:
    missing = []
    for link, anchor in ANCHOR.findall(document.read_text(encoding="utf-8")):
        target = document.parent / link if link else document
        headings = HEADING.findall(FENCED.sub("", target.read_text(encoding="utf-8")))
        if anchor not in map(anchor_of, headings):
            missing.append(f"{link}#{anchor}")
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_make_targets_in_documents_exist(document: Path, make_targets: set[str]) -> None:
    named = set(TARGET.findall(document.read_text(encoding="utf-8")))
    assert named <= make_targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_path)
def test_tests_and_modules_in_documents_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    package = ROOT / "layers" / "core" / "python"
    tests = [name for name in TEST_FILE.findall(text) if not (ROOT / name).exists()]
    modules = [
        name
        for name in MODULE.findall(text)
        if not (package / name.replace(".", "/")).with_suffix(".py").exists()
        and not (package / name.replace(".", "/")).is_dir()
    ]
    assert (tests, modules) == ([], [])


def test_the_table_of_functions_has_all_of_them() -> None:
    told = section(text_of("docs", "architecture.md"), "On AWS")
    names = {path.parent.name for path in ROOT.glob("functions/*/*") if path.is_file()}
    listed = {
        name
        for row in re.findall(r"^\| (`.+?) \|", told, re.M)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == names - {"__pycache__"}


def test_decisions_have_numbers_of_their_own() -> None:
    names = [path.name for path in (ROOT / "docs" / "decisions").glob("*.md")]
    numbers = [found.group(1) for name in names if (found := NUMBERED.fullmatch(name))]
    assert len(numbers) == len(names) == len(set(numbers))


def test_sections_of_the_standard_are_cited_in_one_form() -> None:
    """A section follows its part with its sign, so that one search finds every citation."""
    package = ROOT / "layers" / "core" / "python" / "dicomulus"
    bare = [
        f"{by_path(text)}: {citation}"
        for text in [*DOCUMENTS, *package.rglob("*.py")]
        for citation in BARE_SECTION.findall(text.read_text(encoding="utf-8"))
    ]
    assert bare == []


# --- conformance ----------------------------------------------------------------------------------


def test_every_route_has_a_row_and_every_row_a_route(conformance: str) -> None:
    rows = [(row[2], row[3]) for row in rows_of(section(conformance, "Transactions"))]
    assert sorted(rows) == sorted((route.method, route.template) for route in ROUTES)


def test_every_route_of_orthanc_has_a_row_and_every_row_a_route(conformance: str) -> None:
    rows = [(row[1], row[2]) for row in rows_of(section(conformance, "Orthanc's REST API"))]
    routes = {(route.method, route.template) for route in ORTHANC_ROUTES}
    told = {
        (method, path)
        for methods, paths in rows
        for method in methods.split(", ")
        for path in re.split("`, `", paths)
    }
    assert told == routes


@pytest.mark.parametrize(
    ("heading", "returned"),
    [
        ("Patient", PATIENT_RETURN),
        ("Study", STUDY_RETURN),
        ("Series", SERIES_RETURN),
        ("Instance", INSTANCE_RETURN),
    ],
)
def test_return_attributes_are_those_of_the_code(
    conformance: str, heading: str, returned: Mapping[str, str]
) -> None:
    """PS3.18 Tables 10.6.3-3 to 10.6.3-5, as far as the archive has them."""
    rows = list(rows_of(section(conformance, heading)))
    assert {tag_from_keyword(keyword): usage for _, keyword, usage in rows} == returned
    assert [re.sub(r"[(),]", "", tag) for tag, _, _ in rows] == [
        tag_from_keyword(keyword) for _, keyword, _ in rows
    ]


@pytest.mark.parametrize(
    ("heading", "further"),
    [("Patient", PATIENT_FURTHER), ("Study", STUDY_FURTHER), ("Series", SERIES_FURTHER)],
)
def test_attributes_on_request_are_those_of_the_code(
    conformance: str, heading: str, further: frozenset[str]
) -> None:
    keywords = re.findall(r"`(\w+)`", section(conformance, heading))
    assert {tag_from_keyword(keyword) for keyword in keywords} == further


def test_search_parameters_are_those_of_the_code(conformance: str) -> None:
    """PS3.18 Table 8.3.4-1, and those of every resource."""
    text = section(conformance, "Search")
    named = {name for row in rows_of(text) for name in re.findall(r"\w+", row[0])}
    elsewhere = re.search(
        r"^((?:`\w+`(?:, | and )?)+) belong to every resource", text, re.MULTILINE
    )
    assert elsewhere
    assert named - {"attribute", "value"} | set(re.findall(r"\w+", elsewhere[1])) - {"and"} == (
        PARAMETERS
    )


def test_vrs_with_wildcards_are_those_of_the_code(conformance: str) -> None:
    """PS3.4 §C.2.2.2.4."""
    rows = dict(rows_of(section(conformance, "Matching")))
    assert set(rows["wildcards `*`, `?"].split(", ")) == WILDCARD_VRS - {"UN"}


def test_attributes_that_studies_are_found_along_are_those_of_the_code(conformance: str) -> None:
    text = " ".join(section(conformance, "Cost").split())
    along, _, carried = text.partition(" (whole, ")
    named = {word for word in re.findall(r"\w+", along) if tag_from_keyword(word) in PATH_BY_TAG}
    assert {tag_from_keyword(word) for word in named} == set(PATH_BY_TAG)
    texts = re.search(r"by any part of (.+?) goes through an index", carried)
    assert texts
    assert set(re.findall(r"\w+", texts[1])) - {"or"} == set(CARRIED_TAGS)


def test_the_most_that_is_sorted_is_that_of_the_code(conformance: str) -> None:
    assert f"{MAX_SORTED:,} at most" in section(conformance, "Cost")


def test_a_field_of_a_lower_level_is_noted_as_described(conformance: str) -> None:
    (note,) = parse_search([("includefield", "Modality")], STUDIES).notes
    assert note in " ".join(section(conformance, "Search").split())


def test_the_longest_uid_is_that_of_the_code(conformance: str) -> None:
    assert f"up to {MAX_UID_PART_LENGTH} characters as paths have them" in conformance


def test_media_types_of_transfer_syntaxes_are_those_of_the_code(conformance: str) -> None:
    """PS3.18 Table 8.7.3-5."""
    rows = rows_of(section(conformance, "Transfer syntaxes"))
    assert {uid: kind for kind, uids in rows for uid in uids.split(", ")} == FRAME_MEDIA_TYPES


def test_failure_reasons_are_those_of_the_code(conformance: str) -> None:
    rows = list(rows_of(section(conformance, "Store")))
    assert {(reason, name) for reason, name, _ in rows} == {
        (f"{reason:04X}H", reason.name) for reason in FailureReason
    }


def test_every_error_has_its_status_in_the_table(conformance: str) -> None:
    rows = [(int(status), code) for status, code, _ in rows_of(section(conformance, "Errors"))]
    unexpected = int(unexpected_problem().status)
    known = {(int(status_of(kind)), kind.code) for kind in error_classes(DicomulusError)}
    assert sorted(rows) == sorted(known | {(unexpected, "internal")})


def error_classes(base: type[DicomulusError]) -> Iterator[type[DicomulusError]]:
    """The package's own classes; a test may have derived others."""
    if base.__module__ == DicomulusError.__module__:
        yield base
    for kind in base.__subclasses__():
        yield from error_classes(kind)


# --- configuration --------------------------------------------------------------------------------


def formatted(default: Any) -> str:
    """A default as its variable would have it."""
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


def test_every_setting_is_described_with_its_default(configuration: str) -> None:
    rows = {variable: default for variable, _, default, _ in rows_of(configuration)}
    settings = [field for field in fields(Settings) if field.name != "extra"]
    assert rows == {PREFIX + field.name.upper(): formatted(field.default) for field in settings}
    assert len(list(rows_of(configuration))) == len(settings)


def test_options_are_those_of_the_command(
    configuration: str, capsys: pytest.CaptureFixture[str]
) -> None:
    described = {option for _, option, _, _ in rows_of(configuration) if option.startswith("--")}
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    usage = capsys.readouterr().out.partition("options:")[2]
    offered = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", usage, flags=re.MULTILINE))
    assert described == offered - {"--help", "--verbose"}


def test_the_command_tells_which_variable_an_option_is(
    configuration: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    told = " ".join(capsys.readouterr().out.partition("Settings can be given")[2].split())
    for variable, option, _, _ in rows_of(configuration):
        if option and option.upper().replace("--", PREFIX).replace("-", "_") != variable:
            assert f"{option} by {variable}" in told


def test_limits_on_aws_are_those_of_the_code(configuration: str) -> None:
    for limit in (MAX_STREAM_BYTES, MAX_STORE_BYTES):
        assert f"{limit:,}" in configuration


def test_faults_of_the_second_emulator_are_those_that_tests_know() -> None:
    told = section(text_of("docs", "development.md"), "Two emulators of AWS")
    assert dict(rows_of(told)) == EMULATOR_FAULTS


def test_every_decision_is_listed() -> None:
    listed = re.findall(
        r"\(decisions/([^)]+)\)", section(text_of("docs", "architecture.md"), "Decisions")
    )
    assert listed == sorted(path.name for path in ROOT.glob("docs/decisions/*.md"))


@pytest.mark.parametrize("path", [("README.md",), ("docs", "deployment.md")])
def test_the_command_that_the_emulation_prints_has_its_credentials(path: tuple[str, ...]) -> None:
    told = set(re.findall(r"(AWS_\w+KEY\w*)=(\w+)", text_of(*path)))
    assert told == set(CREDENTIALS.items())
