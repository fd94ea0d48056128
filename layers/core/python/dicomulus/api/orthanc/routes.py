"""The route table of Orthanc's REST API.

Each capability has a module of its own and its rows here, in a block of its own. A path that is
literal comes before one with a variable at that place.
"""

from __future__ import annotations

from typing import Final

from dicomulus.api.orthanc.system import system
from dicomulus.api.route import Route

ORTHANC_ROUTES: Final = (
    # The archive.
    Route("GET", "/system", system),
)
