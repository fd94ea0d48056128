"""The route table of Orthanc's REST API.

Each capability has a module of its own and its rows here, in a block of its own. A path that is
literal comes before one with a variable at that place.
"""

from __future__ import annotations

from typing import Final

from dicomulus.api.orthanc.archives import (
    create_archive,
    create_media,
    patient_archive,
    patient_media,
    series_archive,
    series_media,
    study_archive,
    study_media,
)
from dicomulus.api.orthanc.delete import (
    delete_instance,
    delete_many,
    delete_patient,
    delete_series,
    delete_study,
)
from dicomulus.api.orthanc.images import (
    extracted_image,
    frame_array,
    instance_array,
    instance_file,
    instance_pdf,
    list_frame_operations,
    list_frames,
    matlab_matrix,
    raw_frame,
    raw_frame_gzip,
    rendered_image,
)
from dicomulus.api.orthanc.labels import LABEL_ROUTES
from dicomulus.api.orthanc.metadata import METADATA_ROUTES
from dicomulus.api.orthanc.not_offered import not_offered
from dicomulus.api.orthanc.system import system
from dicomulus.api.orthanc.upload import upload_instances
from dicomulus.api.route import Route

_INSTANCE: Final = "/instances/{id}"
_FRAME: Final = _INSTANCE + "/frames/{frame}"
_RESOURCE: Final = "/{level}/{id}"

ORTHANC_ROUTES: Final = (
    # The archive.
    Route("GET", "/system", system),
    # Instances taken in, and resources deleted.
    Route("POST", "/instances", upload_instances, "write"),
    Route("DELETE", "/patients/{id}", delete_patient, "delete"),
    Route("DELETE", "/studies/{id}", delete_study, "delete"),
    Route("DELETE", "/series/{id}", delete_series, "delete"),
    Route("DELETE", "/instances/{id}", delete_instance, "delete"),
    Route("POST", "/tools/bulk-delete", delete_many, "delete"),
    # Archives.
    Route("GET", "/patients/{id}/archive", patient_archive, decodes=True),
    Route("POST", "/patients/{id}/archive", patient_archive, decodes=True),
    Route("GET", "/studies/{id}/archive", study_archive, decodes=True),
    Route("POST", "/studies/{id}/archive", study_archive, decodes=True),
    Route("GET", "/series/{id}/archive", series_archive, decodes=True),
    Route("POST", "/series/{id}/archive", series_archive, decodes=True),
    Route("GET", "/patients/{id}/media", patient_media, decodes=True),
    Route("POST", "/patients/{id}/media", patient_media, decodes=True),
    Route("GET", "/studies/{id}/media", study_media, decodes=True),
    Route("POST", "/studies/{id}/media", study_media, decodes=True),
    Route("GET", "/series/{id}/media", series_media, decodes=True),
    Route("POST", "/series/{id}/media", series_media, decodes=True),
    Route("GET", "/tools/create-archive", create_archive, decodes=True),
    Route("POST", "/tools/create-archive", create_archive, decodes=True),
    Route("GET", "/tools/create-media", create_media, decodes=True),
    Route("POST", "/tools/create-media", create_media, decodes=True),
    # Files, frames and images.
    Route("GET", _INSTANCE + "/file", instance_file, decodes=True),
    Route("GET", _INSTANCE + "/frames", list_frames),
    Route("GET", _FRAME, list_frame_operations),
    Route("GET", _FRAME + "/raw", raw_frame),
    Route("GET", _FRAME + "/raw.gz", raw_frame_gzip),
    *(
        Route("GET", f"{of}/{name}", handler, decodes=True)
        for of in (_INSTANCE, _FRAME)
        for name, handler in (
            ("preview", extracted_image("preview")),
            ("image-uint8", extracted_image("image-uint8")),
            ("image-uint16", extracted_image("image-uint16")),
            ("image-int16", extracted_image("image-int16")),
            ("rendered", rendered_image),
            ("matlab", matlab_matrix),
        )
    ),
    Route("GET", _INSTANCE + "/numpy", instance_array, decodes=True),
    Route("GET", _FRAME + "/numpy", frame_array, decodes=True),
    Route("GET", _INSTANCE + "/pdf", instance_pdf),
    # Metadata and labels.
    *METADATA_ROUTES,
    *LABEL_ROUTES,
    # What Orthanc has and this archive has not: last, since these take any level.
    Route("POST", _RESOURCE + "/anonymize", not_offered),
    Route("POST", _RESOURCE + "/modify", not_offered),
    Route("POST", "/tools/bulk-anonymize", not_offered),
    Route("POST", "/tools/bulk-modify", not_offered),
    Route("GET", "/jobs", not_offered),
    Route("GET", "/jobs/{rest+}", not_offered),
    Route("GET", "/queries", not_offered),
    Route("GET", "/modalities", not_offered),
    Route("GET", "/modalities/{rest+}", not_offered),
    Route("POST", "/modalities/{rest+}", not_offered),
    Route("GET", "/peers", not_offered),
    Route("GET", "/peers/{rest+}", not_offered),
    Route("POST", "/peers/{rest+}", not_offered),
)
