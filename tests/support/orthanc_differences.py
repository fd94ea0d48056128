"""What must differ between Orthanc and this server, each with its reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.support.orthanc_comparison import (
    Difference,
    common_members,
    contents,
    dropped,
    dropped_like,
    either_way,
    form_of_changes,
    in_bodies,
    in_decimals,
    in_headers,
    in_order,
    in_order_below,
    in_turn,
    members,
    more_is_theirs,
    number_of,
    ours_where,
    pixels_within,
    renamed,
    respaced,
    set_of_changes,
    statuses,
    whole,
    without_content_type,
    without_empty,
    without_headers,
    without_patients_at_rest_of,
    without_private_names,
)
from tests.support.orthanc_questions import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATE: Final = r"\d{8}T\d{6}"
_UUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_RESOURCES: Final = (
    r"^(GET /\w+(/[^/]+(/(patients?|stud(y|ies)|series|instances))?)?(\?.*)?$"
    r"|POST /tools/(find|bulk-content))"
)
"""What answers with resources and their main tags."""

NO_ID: Final = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
"""The patient whose ID is empty."""


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("Type") == "Null")


def _is_undecoded(value: Any) -> bool:
    # The bytes of Japanese names as if they were ASCII (PS3.5 §H.3).
    return isinstance(value, str) and bool(re.search(r"=[\x1b]?[$(]?.?;3ED", value))


def _is_several_tags(value: Any) -> bool:
    is_tags = isinstance(value, str) and re.fullmatch(r"([0-9a-f]{4},[0-9a-f]{4}\\?)+", value)
    return bool(is_tags) or (isinstance(value, dict) and _is_several_tags(value.get("Value")))


def _ends_empty(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("=")


DIFFERENCES: Final = (
    # Each server for itself.
    Difference(
        "each server received and changed things when it did",
        "",
        members(["LastUpdate", "ReceptionDate", "Date", "2", "7"], _DATE, instead="date"),
    ),
    Difference(
        "metadata that is a time, whose digest is in the entity tag",
        r"GET .*/metadata/(LastUpdate|ReceptionDate|7|2)$",
        in_turn(without_headers("ETag"), whole(_DATE, instead="date")),
    ),
    Difference("the time of day", "GET /tools/now", whole(_DATE, instead="date")),
    Difference(
        "each server names what it stores",
        "",
        in_turn(
            members(["FileUuid", "Uuid"], _UUID, instead="uuid"),
            in_headers("Content-Disposition", _UUID, "uuid"),
        ),
    ),
    Difference(
        "this server has no DIMSE, no plugins, no recycling, and a version of its own",
        "GET /system$",
        in_turn(
            dropped("Capabilities", "MainDicomTags", "PluginsEnabled", "MaximumStorageMode"),
            common_members,
            dropped("ApiVersion", "Version", "Name", "DatabaseServerIdentifier", "1030"),
            members(["HttpPort", "DatabaseVersion"], r"\d+", instead=1),
        ),
    ),
    Difference(
        "Orthanc's index gives resources in an order of its own, which has changed with versions",
        r"^(GET /([^?]+/)?(patients|studies|series|instances)(\?expand)?$|POST /tools/(find|bulk-content))",
        in_bodies(in_order),
    ),
    Difference(
        "as many in that order, others",
        r"^GET /(patients|studies|series|instances)\?.*(limit|since)=",
        in_bodies(number_of),
    ),
    Difference(
        "a number below 0 is none",
        r"^GET /\w+\?.*limit=-1",
        in_turn(statuses(200, 400), statuses(500, 400)),
    ),
    Difference(
        "neither needed by scripts nor told by DICOM files alone",
        r"^GET /(tools|exports|plugins|tools/(default-encoding|log-level|metrics)|.*/ordered-slices)$",
        either_way,
    ),
    Difference(
        "patients do not tell whether they are protected",
        _RESOURCES,
        dropped("IsProtected"),
        before=(1, 12, 5),
    ),
    Difference(
        "no limit was none asked for", r"^GET /\w+\?limit=0&since=0$", either_way, before=(1, 12, 5)
    ),
    Difference(
        "Orthanc does not always look first whether there is such a resource",
        rf"(/({UNKNOWN}|nonsense)/|/(patients|series|instances)/[^/]+/studies$)",
        in_turn(statuses(200, 404), statuses(400, 404), statuses(415, 404), statuses(500, 404)),
    ),
    Difference(
        "an instance that is written anew in another form makes what it belongs to unstable",
        _RESOURCES,
        dropped("IsStable"),
    ),
    Difference(
        "of what differs among a patient's studies any may be given",
        r"^GET /patients/.*requested-tags",
        dropped("StudyDescription"),
    ),
    Difference(
        "the log has an order of its own among resources that came together (decision 28)",
        r"^GET /changes\?limit=1000$",
        in_bodies(set_of_changes),
    ),
    Difference(
        "the log has an order of its own among resources that came together (decision 28)",
        r"^GET /changes",
        in_bodies(form_of_changes),
    ),
    Difference(
        "a patient without an ID is not told to be at rest, since that can be anybody",
        r"^GET /changes\?limit=1000$",
        in_bodies(without_patients_at_rest_of(NO_ID)),
    ),
    # Searches.
    Difference("spaces around a text do not count", "/tools/lookup", either_way, body="^  "),
    Difference(
        "a pattern that matches everything matches what has no value too (PS3.4 §C.2.2.2.4)",
        "/tools/find",
        either_way,
        body=r'"PatientID": "\*"',
    ),
    Difference("names match whatever their accents", "/tools/find", either_way, body="Muller"),
    Difference("no date is in no range", "/tools/find", either_way, body='"-20240229"'),
    Difference(
        "an attribute of series finds studies that have one",
        "/tools/find",
        either_way,
        body='"Level": "Study", "Query": {"Modality": "MR"}',
    ),
    Difference("what is asked wrongly is no failure", "/tools/find", statuses(500, 400)),
    Difference("there are labels", "/tools/find", either_way, body="Labels", before=(1, 12)),
    Difference("resources are counted", "/tools/count-resources", either_way, before=(1, 12, 5)),
    # Files and attachments.
    Difference(
        "decimal strings are numbers in DICOM JSON (PS3.18 §F.2.3)",
        "/file$",
        in_bodies(in_decimals),
    ),
    Difference(
        "pixels are told by where they are in DICOM JSON, as in all of this server's",
        "/file$",
        dropped("7FE00010"),
    ),
    Difference(
        "a part of an object is DICOM no more than its form at rest",
        "/attachments/dicom/(compressed-)?data$",
        without_content_type,
    ),
    Difference(
        "an object in another form at rest is the same revision",
        "/attachments/(dicom|1)(/|$)",
        in_headers("ETag", r"^\"\d+-", '"revision-'),
    ),
    Difference(
        "a content at rest has no name for others, and a part that of the whole",
        r"/attachments/[^/]+/(compressed-)?data$",
        without_headers("Content-Disposition"),
    ),
    Difference(
        "an object without its UIDs is a wrong one",
        "^POST /instances$",
        statuses(404, 400),
    ),
    Difference(
        "each zlib compresses in its own way",
        "/dicom/info$",
        members(["CompressedSize", "CompressedMD5"], r"\d+|[0-9a-f]{32}", instead="compressed"),
    ),
    Difference(
        "an instance's object is compressed so that parts of it can be read (decision 30)",
        "/dicom/compressed-(data|size|md5)$",
        in_bodies(bool),
    ),
    Difference(
        "the name of what is stored can be asked for",
        "/attachments/[^/]+(/uuid)?$",
        in_turn(dropped("uuid"), statuses(404, 200)),
    ),
    Difference(
        "a number with too many digits is a name that there is not",
        r"/attachments/99999999999$",
        statuses(400, 404),
    ),
    Difference(
        "names in archives have changed with Orthanc's versions, and a DICOMDIR's bytes are its maker's",
        r"/(archive|media|create-archive|create-media)(\?|$)",
        in_bodies(contents),
    ),
    Difference("the log is for all who follow it", "^DELETE /changes$", statuses(200, 405)),
    # How values are read.
    Difference(
        "a Patient ID that some files lack is empty",
        _RESOURCES,
        in_bodies(without_empty("PatientID", "0010,0020")),
    ),
    Difference(
        "dcmtk's dictionary marks what is retired",
        r"(tags|module|bulk-content)",
        in_bodies(renamed("^RETIRED_", "")),
    ),
    Difference(
        "spaces at the end of a value are none, of each of several (PS3.5 §6.2)",
        r"(tags|module|content)",
        in_bodies(respaced),
    ),
    Difference(
        "a failure of Orthanc itself is none here, or the request's",
        r"/content/",
        in_turn(statuses(500, 200), statuses(500, 404)),
    ),
    Difference(
        "all texts are in one character set here, the answer's (decision 0007)",
        "",
        dropped("SpecificCharacterSet", "0008,0005"),
    ),
    Difference(
        "lengths of groups are not kept (PS3.5 §7.2)",
        "",
        dropped_like(r"[0-9a-f]{4},0000|GenericGroupLength|PrivateGroupLength"),
    ),
    Difference(
        "a text of a private element whose VR the dictionary has is one, without a VR in the file",
        "",
        ours_where(r"[0-9a-f]{3}[13579bdf],[0-9a-f]{4}|Unknown Tag & Data", theirs=_is_null),
    ),
    Difference(
        "manufacturers' names of private elements are not known here",
        r"(simplified-tags|simplify)",
        in_turn(more_is_theirs, dropped("Unknown Tag & Data")),
    ),
    Difference(
        "manufacturers' names of private elements are not known here",
        r"/tags(\?|$)",
        in_bodies(without_private_names),
    ),
    Difference(
        "of several tags the first is told, as by Orthanc 1.10",
        "",
        ours_where("0028,0009|FrameIncrementPointer|Value", theirs=_is_several_tags),
    ),
    Difference(
        "Orthanc decodes the first of several character sets alone",
        "",
        ours_where("PatientName|0010,0010|Value", theirs=_is_undecoded),
    ),
    Difference(
        "an empty group of components at a name's end is none (PS3.18 §F.2.2)",
        "",
        ours_where("PatientName|0010,0010|Value", theirs=_ends_empty),
    ),
    # What this server says besides.
    Difference(
        "a file to be kept is an attachment, so that a browser keeps it (RFC 6266)",
        "",
        in_headers("Content-Disposition", r"^attachment; ", ""),
    ),
    Difference(
        "a file has an entity tag, so that it is not sent again to who has it",
        r"^GET /instances/[^/]+/(file|frames/\d+/raw)$",
        without_headers("ETag"),
    ),
    Difference(
        "an image in a form that is none is refused as DICOMweb refuses it",
        r"/(preview|rendered|image-.*)$",
        in_turn(statuses(404, 406), statuses(415, 406)),
    ),
    Difference(
        "a failure of Orthanc itself is the request's here",
        r"/(raw|raw\.gz|matlab)$",
        in_turn(statuses(500, 400), statuses(500, 415), statuses(500, 404), statuses(400, 404)),
    ),
    Difference(
        "a grey level between two is rounded to one or the other",
        r"/rendered$",
        pixels_within(1),
    ),
    Difference(
        "a frame that there is not is not found, in whatever form it is asked for",
        r"/frames/\d+/(preview|rendered|image-.*)$",
        statuses(415, 404),
    ),
    Difference(
        "nobody keeps who has brought an object",
        r"(/metadata(\?.*)?|bulk-content)$",
        dropped("RemoteIP", "HttpUsername", "Origin", "8", "11", "13", 8, 11, 13),
    ),
    Difference(
        "nobody keeps who has brought an object",
        r"^GET .*/metadata/(RemoteIP|HttpUsername|Origin)$",
        either_way,
    ),
    Difference(
        "main tags are not read again by a signature of them",
        r"(/metadata(\?.*)?|bulk-content)$",
        dropped("MainDicomTagsSignature", "MainDicomSequences", "15", "16", 15, 16),
    ),
    Difference(
        "a number with too many digits is a name that there is not",
        r"/metadata/99999999999$",
        statuses(400, 404),
    ),
    Difference(
        "an entity tag that is none of ours is just another one (RFC 9110 §13.1.2)",
        r"^GET .*/(metadata|attachments)/",
        statuses(400, 200),
    ),
    # What later versions of Orthanc answer.
    Difference(
        "changes can be picked", r"^GET /changes.*(type|to)=", either_way, before=(1, 12, 5)
    ),
    Difference(
        "archives and attachments can be given names",
        r"\?filename=",
        without_headers("Content-Disposition"),
        before=(1, 12),
    ),
    Difference(
        "parts are given",
        r"/attachments/[^/]+/data$",
        in_turn(statuses(200, 206), statuses(200, 416)),
        before=(1, 12),
    ),
    Difference(
        "archives of several resources can be got",
        "^GET /tools/create-archive",
        either_way,
        before=(1, 12),
    ),
    Difference(
        "modules have what the standard has by then",
        r"/module(-patient)?(\?|$)",
        common_members,
    ),
    Difference(
        "revisions are counted by its own index",
        r"/(metadata|attachments)/",
        in_headers("ETag", r"^\"\d+-", '"revision-'),
        before=(1, 12, 5),
    ),
    Difference(
        "metadata are told by their numbers", r"/metadata\?.*numeric", either_way, before=(1, 12)
    ),
    Difference("there are labels", "", dropped("Labels"), before=(1, 12)),
    Difference(
        "what a resource consists of is in the order of the index",
        _RESOURCES,
        in_bodies(in_order_below),
    ),
    Difference(
        "there are more main tags",
        _RESOURCES,
        dropped(
            *("TimezoneOffsetFromUTC", "PerformedProcedureStepStartDate"),
            *("PerformedProcedureStepStartTime", "RequestAttributesSequence"),
            *("0008,0201", "0040,0244", "0040,0245", "0040,0275", "RequestedTags"),
        ),
        before=(1, 12, 5),
    ),
    Difference(
        "a file is named after its instance",
        r"^GET /instances/[^/]+/file$",
        without_headers("Content-Disposition"),
        before=(1, 12),
    ),
)


def differences_of(version: str) -> Sequence[Difference]:
    """Give the rules for a version of Orthanc."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    return [each for each in DIFFERENCES if each.before is None or numbers < each.before]
