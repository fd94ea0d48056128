"""Data sets and queries for them, as nasty as files and viewers make them.

Values come from small pools, and what is asked for is made of the same, so that much of it matches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from dicomulus.dicom.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    PATIENTS,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    Level,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypothesis.strategies import SearchStrategy

    from dicomulus.dicom.query import SearchResource

    Elements = dict[str, dict[str, Any]]
    Parameters = tuple[tuple[str, str], ...]

RESOURCES: Final = (
    PATIENTS,
    STUDIES,
    STUDY_SERIES,
    ALL_SERIES,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    ALL_INSTANCES,
)

# ruff: noqa: RUF001, SIM905 - letters of other scripts are meant; a list of texts is read in lines

# --- values ---------------------------------------------------------------------------------------

# What a stored value may be that says nothing, or that cannot be of its VR.
NOTHING: Final = (None, "", " ")

TEXTS: Final = (
    *"A|a|AB|ab|A B| AB |A*B|A?|*|?|[A]|[!A]|A=B|A,B|A\\B|B\\A|\\|é|É|e\u0301|山田|ß|SS|<A&B>".split(
        "|"
    ),
    '""',
    "x" * 70,
)
GROUPS: Final = (
    *"Doe|DOE^John|Doe^John^^Dr.^|Doe^^^^|Do|Doe ^ John|^John|Doe\\Roe|D?e|*|O'Neil, Tim".split(
        "|"
    ),
    *"Müller^Jürgen|Muller^Jurgen|van der Berg^Anna-Maria|Dvořák|Ødegård|Straße|İnci".split("|"),
)
OTHER_GROUPS: Final = tuple("山田^太郎|やまだ^たろう|Ｙａｍａｄａ|Doe^John|홍^길동".split("|"))
DATES: Final = tuple(
    "20231231|20240101|20240102|2024.01.02|20240103|19520101".split("|"),
)
ODD_DATES: Final = tuple(
    "20241301|2024|today|00000000|20240101-20240102|２０２４０１０１".split("|"),
)
TIMES: Final = (
    *"00|000000|0930|093015|093015.25|093015.250000|09:30:15|23:59|2359".split("|"),
    *"235959.999999|235960|10".split("|"),
)
ODD_TIMES: Final = tuple("9|24|2400|noon|0930-1000|093015.|09:3|1060".split("|"))
DATE_TIMES: Final = (
    *"2024|202401|20240101|2024010109|20240101093015|20240101093015.25".split("|"),
    *"20240101093015+0100|20231231233000-0500|2024+0000|20240102003000+1400".split("|"),
)
ODD_DATE_TIMES: Final = tuple("20241301|2024-2025|later|20240101T0930|2024010109+1500".split("|"))
ZONES: Final = ("+0000", "+0100", "-0500", "+1400", "-1200", "+0545")
ODD_ZONES: Final = ("CET", "0100", "+01:00", "+1500")
UIDS: Final = ("1.2", "1.23", "1.2.3", "1.2.840.10008.5.1.4.1.1.2", "2.25.7", "1.2.ABC")
INTEGERS: Final = (0, 1, 2, 10, -1, "1", "01", "+1", "1 ")
DECIMALS: Final = (1, 1.5, 0.1, "1.50", "1e0", -0.0, "1.5")
ODD_NUMBERS: Final = ("one", "1_0", "NaN", "1\\2")
CODES: Final = ("CT", "MR", "PT", "SR", "ct", "C", "CT ", "C*")
AGES: Final = ("030Y", "002M", "30Y")

_STORED: Final[Mapping[str, Sequence[Any]]] = {
    "AS": AGES,
    "CS": CODES,
    "DA": (*DATES, *ODD_DATES),
    "DS": (*DECIMALS, *ODD_NUMBERS),
    "DT": (*DATE_TIMES, *ODD_DATE_TIMES),
    "IS": (*INTEGERS, *ODD_NUMBERS),
    "LO": TEXTS,
    "LT": TEXTS,
    "SH": TEXTS,
    "TM": (*TIMES, *ODD_TIMES),
    "UI": UIDS,
    "US": (0, 1, 2, 10),
}


@st.composite
def person_names(draw: st.DrawFn) -> dict[str, str]:
    """Names of which any component group may be missing."""
    name = {
        "Alphabetic": draw(st.sampled_from(GROUPS) | st.just("")),
        "Ideographic": draw(st.sampled_from(("", "", *OTHER_GROUPS))),
        "Phonetic": draw(st.sampled_from(("", "", "", *OTHER_GROUPS))),
    }
    return {group: text for group, text in name.items() if text}


def values(vr: str) -> SearchStrategy[Any]:
    """Single values as an object may have them, sound or not."""
    if vr == "PN":
        return person_names() | st.sampled_from((None, {}))
    sound = st.sampled_from(_STORED[vr])
    return st.one_of(sound, sound, sound, st.sampled_from(NOTHING))


def elements(vr: str, *, most: int = 1) -> SearchStrategy[dict[str, Any]]:
    """Attributes with some values, and those without any."""
    held = st.lists(values(vr), min_size=1, max_size=most)
    return held.map(lambda found: {"vr": vr, "Value": found}) | st.just({"vr": vr})


# --- data sets ------------------------------------------------------------------------------------

# Each attribute with its VR and the most values that it is generated with; the standard allows one
# value only for those of which more are generated here as well, since files have them.
STUDY_ATTRIBUTES: Final = {
    "00080020": ("DA", 2),  # StudyDate
    "00080030": ("TM", 2),  # StudyTime
    "00080050": ("SH", 2),  # AccessionNumber
    "00080090": ("PN", 2),  # ReferringPhysicianName
    "00081030": ("LO", 1),  # StudyDescription
    "00081060": ("PN", 2),  # NameOfPhysiciansReadingStudy
    "00100010": ("PN", 2),  # PatientName
    "00100020": ("LO", 2),  # PatientID
    "00100030": ("DA", 1),  # PatientBirthDate
    "00100040": ("CS", 1),  # PatientSex
    "00101000": ("LO", 3),  # OtherPatientIDs
    "00101010": ("AS", 1),  # PatientAge
    "00101020": ("DS", 1),  # PatientSize
    "00200010": ("SH", 1),  # StudyID
}
PATIENT_ATTRIBUTES: Final = {
    tag: each
    for tag, each in STUDY_ATTRIBUTES.items()
    if tag in ("00100010", "00100020", "00100030", "00100040", "00101000")
}
SERIES_ATTRIBUTES: Final = {
    "00080021": ("DA", 1),  # SeriesDate
    "00080031": ("TM", 1),  # SeriesTime
    "00080060": ("CS", 1),  # Modality
    "0008103E": ("LO", 1),  # SeriesDescription
    "00081070": ("PN", 3),  # OperatorsName
    "00180015": ("CS", 1),  # BodyPartExamined
    "00200011": ("IS", 1),  # SeriesNumber
    "00200052": ("UI", 1),  # FrameOfReferenceUID
    "00400244": ("DA", 1),  # PerformedProcedureStepStartDate
    "00400245": ("TM", 1),  # PerformedProcedureStepStartTime
}
INSTANCE_ATTRIBUTES: Final = {
    "00080008": ("CS", 3),  # ImageType
    "00080016": ("UI", 1),  # SOPClassUID
    "00080023": ("DA", 1),  # ContentDate
    "00080033": ("TM", 1),  # ContentTime
    "0008002A": ("DT", 2),  # AcquisitionDateTime
    "00200013": ("IS", 1),  # InstanceNumber
    "00204000": ("LT", 1),  # ImageComments
    "00280010": ("US", 1),  # Rows
}
PROCEDURE_CODES: Final = "00081032"
REQUEST_ATTRIBUTES: Final = "00400275"
_CODE_ITEM: Final = {"00080100": ("SH", 1), "00080104": ("LO", 1)}
_REQUEST_ITEM: Final = {"00400009": ("SH", 1), "00401001": ("SH", 1)}
_ITEMS: Final = {PROCEDURE_CODES: _CODE_ITEM, REQUEST_ATTRIBUTES: _REQUEST_ITEM}
_ZONE: Final = "00080201"
_CREATORS: Final = ("ACME", "ACME 2", "OTHER")
_PRIVATE_VRS: Final = ("LO", "IS", "DA", "DT", "PN", "UI", "CS")


@st.composite
def data_sets(draw: st.DrawFn, attributes: Mapping[str, tuple[str, int]]) -> Elements:
    """Any of some attributes, each there or not."""
    tags = draw(st.sets(st.sampled_from(sorted(attributes))))
    return {tag: draw(elements(vr, most=most)) for tag, (vr, most) in _of(attributes, tags)}


def _of(
    attributes: Mapping[str, tuple[str, int]], tags: set[str]
) -> list[tuple[str, tuple[str, int]]]:
    return [(tag, attributes[tag]) for tag in sorted(tags)]


def zones() -> SearchStrategy[Elements]:
    """TimezoneOffsetFromUTC, or none."""
    known = st.sampled_from((*ZONES, *ODD_ZONES)).map(
        lambda zone: {_ZONE: {"vr": "SH", "Value": [zone]}}
    )
    return st.one_of(st.just({}), known, known, st.just({_ZONE: {"vr": "SH"}}))


def sequences(tag: str) -> SearchStrategy[Elements]:
    """A sequence of some items, of which any may be empty."""
    items = st.lists(data_sets(_ITEMS[tag]), max_size=3)
    held = items.map(lambda found: {tag: {"vr": "SQ", "Value": found} if found else {"vr": "SQ"}})
    return st.just({}) | held


@st.composite
def private_blocks(draw: st.DrawFn) -> Elements:
    """Attributes 01 and 02 of the group 0009, in blocks of several creators, or of none."""
    found: Elements = {}
    for block in draw(st.sets(st.sampled_from(("10", "11", "A0")))):
        if creator := draw(st.sampled_from((*_CREATORS, None))):
            found[f"000900{block}"] = {"vr": "LO", "Value": [creator]}
        for element in draw(st.sets(st.sampled_from(("01", "02")))):
            vr = draw(st.sampled_from(_PRIVATE_VRS))
            found[f"0009{block}{element}"] = draw(elements(vr, most=2))
    return found


def merged(*parts: SearchStrategy[Elements]) -> SearchStrategy[Elements]:
    """One data set of several."""
    return st.tuples(*parts).map(lambda each: {tag: v for part in each for tag, v in part.items()})


def study_elements() -> SearchStrategy[Elements]:
    """What objects say of their study, without UID."""
    return merged(data_sets(STUDY_ATTRIBUTES), sequences(PROCEDURE_CODES), zones())


def series_elements() -> SearchStrategy[Elements]:
    """What objects say of their series, without UID."""
    return merged(data_sets(SERIES_ATTRIBUTES), sequences(REQUEST_ATTRIBUTES), zones())


def instance_elements() -> SearchStrategy[Elements]:
    """What an object says of itself alone, without UID."""
    return merged(data_sets(INSTANCE_ATTRIBUTES), private_blocks(), zones())


# --- queries --------------------------------------------------------------------------------------

_ATTRIBUTES: Final = {
    Level.PATIENT: (PATIENT_ATTRIBUTES,),
    Level.STUDY: (STUDY_ATTRIBUTES,),
    Level.SERIES: (STUDY_ATTRIBUTES, SERIES_ATTRIBUTES),
    Level.INSTANCE: (STUDY_ATTRIBUTES, SERIES_ATTRIBUTES, INSTANCE_ATTRIBUTES),
}
_SEQUENCES: Final = {
    Level.PATIENT: (),
    Level.STUDY: (PROCEDURE_CODES,),
    Level.SERIES: (PROCEDURE_CODES, REQUEST_ATTRIBUTES),
    Level.INSTANCE: (PROCEDURE_CODES, REQUEST_ATTRIBUTES),
}
_PAIRS: Final = (
    ("00080020", "00080030"),
    ("00080021", "00080031"),
    ("00400244", "00400245"),
    ("00080023", "00080033"),
)


@st.composite
def patterns(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """A text, its case changed, or with wildcards for a part of it."""
    text = draw(st.sampled_from(texts))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    forms = (
        *(text, text, text.lower(), text.upper(), f" {text} "),
        *(text[:start] + "*", "*" + text[start:], f"*{text[start:end]}*", f"{text}*"),
        *(text[:start] + "?" + text[start + 1 :], text[:start] + "*" + text[end:], text + "?"),
    )
    return draw(st.sampled_from(forms))


def ranges(values: Sequence[str]) -> SearchStrategy[str]:
    """A value, or a range that is open or not, mostly with its ends in order."""
    value = st.sampled_from(values)
    both = st.tuples(value, value).map(sorted).map("-".join)
    return st.one_of(value, both, both, value.map("{}-".format), value.map("-{}".format))


def asked(vr: str) -> SearchStrategy[str]:
    """What a query asks of an attribute."""
    single: Mapping[str, SearchStrategy[str]] = {
        "AS": st.sampled_from(AGES),
        "CS": patterns(CODES) | st.lists(st.sampled_from(CODES), max_size=3).map(",".join),
        "DA": ranges(DATES),
        "DS": st.sampled_from(("1", "1.5", "01.50", "0.1", "0", "-0", "1E0", "15e-1")),
        "DT": ranges(DATE_TIMES),
        "IS": st.sampled_from(("0", "1", "01", "+1", "10", "-1", "2")),
        "LO": patterns(TEXTS),
        "LT": patterns(TEXTS),
        "PN": _asked_names(),
        "SH": patterns(TEXTS),
        "TM": ranges(TIMES),
        "UI": st.lists(st.sampled_from(UIDS), min_size=1, max_size=3).map(",".join)
        | st.lists(st.sampled_from(UIDS), min_size=1, max_size=3).map("\\".join),
        "US": st.sampled_from(("0", "1", "2", "10")),
    }
    several = st.lists(single[vr], min_size=2, max_size=3).map("\\".join)
    return st.one_of(single[vr], single[vr], several, st.sampled_from(('""', "", "*", "**")))


def _asked_names() -> SearchStrategy[str]:
    one = patterns((*GROUPS, *OTHER_GROUPS)) | st.sampled_from(
        ("john", "doe john", "an ma", "jur", "^", "=", "*=*", "*^*", "Doe^*", "berg", "tim o'n")
    )
    groups = st.lists(one | st.just("") | st.just("*"), min_size=2, max_size=3).map("=".join)
    return one | groups


_KIND_VRS: Final = {
    "text": ("AS", "CS", "LO", "LT", "SH"),
    "name": ("PN",),
    "date": ("DA",),
    "time": ("TM",),
    "date-time": ("DT",),
    "number": ("DS", "IS", "US"),
    "UID": ("UI",),
}
KINDS: Final = (*_KIND_VRS, "date and time", "sequence", "private")
"""What there is to ask for. Searches for instances have all of them."""


@st.composite
def keys(
    draw: st.DrawFn, level: Level, *, most: int = 3, kinds: Sequence[str] = KINDS
) -> dict[str, str]:
    """Match keys, by name: few of them, as every further one makes a match less likely."""
    found: dict[str, str] = {}
    usable = [kind for kind in kinds if kind in _kinds_at(level)]
    for kind in draw(st.lists(st.sampled_from(usable), min_size=1, max_size=most)):
        found |= draw(_keys_of(kind, level))
    return found


def _attributes_at(level: Level) -> dict[str, str]:
    return {tag: vr for part in _ATTRIBUTES[level] for tag, (vr, _) in part.items()}


def _kinds_at(level: Level) -> set[str]:
    vrs = set(_attributes_at(level).values())
    found = {kind for kind, of_kind in _KIND_VRS.items() if vrs & set(of_kind)}
    if level is not Level.PATIENT:
        found |= {"date and time", "sequence"}
    return found | {"private"} if level is Level.INSTANCE else found


@st.composite
def _keys_of(draw: st.DrawFn, kind: str, level: Level) -> dict[str, str]:
    attributes = _attributes_at(level)
    if kind == "private":
        return draw(_private_keys())
    if kind == "sequence":
        tag = draw(st.sampled_from(_SEQUENCES[level]))
        inner = draw(st.sets(st.sampled_from(sorted(_ITEMS[tag])), min_size=1))
        return {f"{tag}.{each}": draw(asked(_ITEMS[tag][each][0])) for each in sorted(inner)}
    if kind == "date and time":
        date, time = draw(st.sampled_from([pair for pair in _PAIRS if pair[0] in attributes]))
        return {date: draw(ranges(DATES)), time: draw(ranges(TIMES))}
    tag = draw(st.sampled_from([t for t, vr in attributes.items() if vr in _KIND_VRS[kind]]))
    return {tag: draw(asked(attributes[tag]))}


@st.composite
def _private_keys(draw: st.DrawFn) -> dict[str, str]:
    creator = {"00090010": draw(st.sampled_from(_CREATORS))}
    tags = draw(st.sets(st.sampled_from(("00091001", "00091002"))))
    return creator | {tag: draw(asked(draw(st.sampled_from(_PRIVATE_VRS)))) for tag in sorted(tags)}


@st.composite
def parameters(
    draw: st.DrawFn,
    resource: SearchResource,
    *,
    most: int = 3,
    kinds: Sequence[str] = KINDS,
) -> Parameters:
    """The decoded parameters of a search; some break a rule, and are refused."""
    options = {
        name: "true"
        for name in ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
        if draw(st.booleans())
    }
    if draw(st.booleans()):
        options["TimezoneOffsetFromUTC"] = draw(st.sampled_from(ZONES))
    return tuple((draw(keys(resource.level, most=most, kinds=kinds)) | options).items())


def _answers(vr: str, value: str) -> SearchStrategy[dict[str, Any]]:
    """Attributes that say what was asked for, or an end or a part of it."""
    parts = [value, *re.split(r"[-,\\=]", value)]
    texts = [part.replace("*", "").replace("?", "_") for part in parts]
    found = st.sampled_from([text for text in texts if text] or ["A"])
    if vr == "PN":
        return found.map(lambda text: {"vr": vr, "Value": [{"Alphabetic": text}]})
    return found.map(lambda text: {"vr": vr, "Value": [text]})


@st.composite
def entities_about(draw: st.DrawFn, asked_for: Parameters) -> tuple[Elements, Elements, Elements]:
    """A study, a series and an instance that have what some parameters ask for, or nearly."""
    names = {name.split(".")[0]: value for name, value in asked_for}

    def level(attributes: Mapping[str, tuple[str, int]]) -> SearchStrategy[Elements]:
        return st.fixed_dictionaries(
            {
                tag: elements(vr, most=most) | _answers(vr, names[tag])
                for tag, (vr, most) in attributes.items()
                if tag in names
            }
        )

    def items(tag: str) -> SearchStrategy[Elements]:
        return sequences(tag) if tag in names else st.just({})

    study = merged(level(STUDY_ATTRIBUTES), items(PROCEDURE_CODES), zones())
    series = merged(level(SERIES_ATTRIBUTES), items(REQUEST_ATTRIBUTES), zones())
    private = private_blocks() if "00090010" in names else st.just({})
    instance = merged(level(INSTANCE_ATTRIBUTES), private, zones())
    return draw(study), draw(series), draw(instance)


def searches(*, most: int = 3) -> SearchStrategy[tuple[SearchResource, Parameters]]:
    """A resource with parameters for it, of which a few are keys."""
    return st.sampled_from(RESOURCES).flatmap(
        lambda resource: st.tuples(st.just(resource), parameters(resource, most=most))
    )
