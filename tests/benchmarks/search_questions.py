"""What archives of several sizes are asked for: the searches of users and of viewers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from dicomulus.dicom.query import ALL_INSTANCES, ALL_SERIES, STUDIES, parse_search
from tests.benchmarks.search_archive import filed_instance
from tests.support.synthetic_studies import ABSENT_MODALITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.query import Query

OHIF_LIST: Final = {
    "limit": "101",
    "offset": "0",
    "fuzzymatching": "true",
    "includefield": "00081030,00080060,00080090,00100030",
}
"""What OHIF 3.13 sends with every list."""

_RESOURCES: Final = {"/studies": STUDIES, "/series": ALL_SERIES, "/instances": ALL_INSTANCES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One search."""

    name: str
    """What the tables call it."""
    path: str = "/studies"
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_next_page: bool = False
    """The page after the first one is asked for."""

    @property
    def is_count(self) -> bool:
        """Whether it asks for the number of matches alone."""
        return self.path.endswith("/count")

    @property
    def target(self) -> str:
        """Path and query below the base URL, of the first page."""
        return f"{self.path}?{urlencode(self.parameters)}" if self.parameters else self.path

    @property
    def query(self) -> Query:
        """The same as the server takes it."""
        resource = _RESOURCES[self.path.removesuffix("/count")]
        return parse_search(self.parameters.items(), resource)

    def next_query(self, page: str) -> Query:
        """Give the query of the page after the first, as the first one's token names it."""
        return replace(self.query, offset=0, page=page)


def _by(name: str, **parameters: str) -> Question:
    return Question(name=name, parameters={"limit": "25", **parameters})


def _ohif(name: str, **parameters: str) -> Question:
    return Question(name=name, parameters=OHIF_LIST | parameters)


KEYED: Final = (
    _by("PatientID", PatientID="P00000100"),
    _by("AccessionNumber", AccessionNumber="A000000500"),
    _by("beginning of PatientName", PatientName="Hadd*"),
    _by("StudyDate, a month", StudyDate="20180101-20180131"),
)
"""Searches that have an access path, of 25 results."""

ONE_MATCH: Final = (
    _ohif("OHIF, part of PatientID, one match", PatientID="*77-UNIQ*"),
    _ohif("OHIF, part of AccessionNumber, one match", AccessionNumber="*CX77*"),
    _ohif("OHIF, part of PatientName, one match", PatientName="*zalco*"),
    _ohif("OHIF, part of StudyDescription, one match", StudyDescription="*once only*"),
)
"""OHIF's literal filters, where one study matches that is older than all others."""

DESCRIPTIONS: Final = (
    ONE_MATCH[-1],
    _ohif("OHIF, part of StudyDescription, many matches", StudyDescription="*Thorax*"),
    _ohif("OHIF, part of StudyDescription, no match", StudyDescription="*zebra*"),
)
"""The literal filter on StudyDescription, however much it finds."""

QUESTIONS: Final = (
    *KEYED,
    _ohif("OHIF, list of 101"),
    Question(name="OHIF, next page of the list", parameters=OHIF_LIST, is_next_page=True),
    *ONE_MATCH,
    *DESCRIPTIONS[1:],
    _ohif("OHIF, part of PatientName, many matches", PatientName="*ander*"),
    _ohif("OHIF, ModalitiesInStudy, many matches", ModalitiesInStudy="MR,CT"),
    _ohif("OHIF, ModalitiesInStudy, no match", ModalitiesInStudy=ABSENT_MODALITY),
    _by("orderby=PatientName", orderby="PatientName"),
    Question(name="/studies/count", path="/studies/count"),
    Question(name="/series?Modality", path="/series", parameters={"limit": "25", "Modality": "MR"}),
    Question(
        name="/instances?SOPInstanceUID",
        path="/instances",
        parameters={"SOPInstanceUID": filed_instance().sop_instance_uid},
    ),
)
"""All searches, in the order of the tables."""
