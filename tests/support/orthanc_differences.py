"""What must differ between Orthanc and this server, each with its reason."""

from __future__ import annotations

import re
from typing import Final

from tests.support.orthanc_comparison import Difference, members, whole, without_headers

_DATE: Final = r"\d{8}T\d{6}"
_UUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

DIFFERENCES: Final = (
    Difference(
        "each server received and changed things when it did",
        re.compile(r""),
        members(["LastUpdate", "ReceptionDate", "Date", "2", "7"], _DATE, instead="date"),
    ),
    Difference(
        "metadata that is a time, whose digest is in the entity tag",
        re.compile(r"GET .*/metadata/(LastUpdate|ReceptionDate|7|2)$"),
        lambda answer: without_headers("ETag")(whole(_DATE, instead="date")(answer)),
    ),
    Difference(
        "the time of day",
        re.compile(r"GET /tools/now"),
        whole(_DATE, instead="date"),
    ),
    Difference(
        "each server names what it stores",
        re.compile(r""),
        members(["FileUuid", "Uuid"], _UUID, instead="uuid"),
    ),
)
