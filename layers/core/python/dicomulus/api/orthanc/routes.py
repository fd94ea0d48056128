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
from dicomulus.api.orthanc.attachments import attachment_routes
from dicomulus.api.orthanc.changes import list_changes
from dicomulus.api.orthanc.delete import (
    delete_instance,
    delete_many,
    delete_patient,
    delete_series,
    delete_study,
)
from dicomulus.api.orthanc.find import (
    count_resources,
    describe_resources,
    find_resources,
    look_up,
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
from dicomulus.api.orthanc.lists import children, list_of, parent, single
from dicomulus.api.orthanc.metadata import METADATA_ROUTES
from dicomulus.api.orthanc.not_offered import not_offered
from dicomulus.api.orthanc.statistics import resource_statistics, statistics
from dicomulus.api.orthanc.system import generate_uid, is_protected, nothing, now, now_local, system
from dicomulus.api.orthanc.tags import (
    content_below,
    instance_content,
    instance_header,
    instance_tags,
    instances_tags,
    module,
    shared_tags,
    simplified_tags,
)
from dicomulus.api.orthanc.take_over import TAKE_OVER_ROUTES
from dicomulus.api.orthanc.upload import upload_instances
from dicomulus.api.route import Route
from dicomulus.dicom.orthanc_id import Level

_PATIENT, _STUDY, _SERIES = Level.PATIENT, Level.STUDY, Level.SERIES

_INSTANCE: Final = "/instances/{id}"
_FRAME: Final = _INSTANCE + "/frames/{frame}"
_RESOURCE: Final = "/{level}/{id}"

ORTHANC_ROUTES: Final = (
    # The archive.
    Route("GET", "/system", system),
    Route("GET", "/statistics", statistics),
    Route("GET", "/tools/generate-uid", generate_uid),
    Route("GET", "/tools/now", now),
    Route("GET", "/tools/now-local", now_local),
    *(
        Route("GET", path, nothing)
        for path in ("/plugins", "/jobs", "/modalities", "/peers", "/queries")
    ),
    # Resources.
    *(Route("GET", f"/{level.plural}", list_of(level)) for level in Level),
    *(Route("GET", f"/{level.plural}/{{id}}", single(level)) for level in Level),
    *(
        Route("GET", f"/{level.plural}/{{id}}/statistics", resource_statistics(level))
        for level in Level
    ),
    Route("GET", "/patients/{id}/studies", children(_PATIENT, _STUDY)),
    Route("GET", "/patients/{id}/series", children(_PATIENT, _SERIES)),
    Route("GET", "/patients/{id}/instances", children(_PATIENT, Level.INSTANCE)),
    Route("GET", "/patients/{id}/protected", is_protected),
    Route("GET", "/studies/{id}/series", children(_STUDY, _SERIES)),
    Route("GET", "/studies/{id}/instances", children(_STUDY, Level.INSTANCE)),
    Route("GET", "/studies/{id}/patient", parent(_STUDY, _PATIENT)),
    Route("GET", "/series/{id}/instances", children(_SERIES, Level.INSTANCE)),
    Route("GET", "/series/{id}/patient", parent(_SERIES, _PATIENT)),
    Route("GET", "/series/{id}/study", parent(_SERIES, _STUDY)),
    Route("GET", _INSTANCE + "/patient", parent(Level.INSTANCE, _PATIENT)),
    Route("GET", _INSTANCE + "/study", parent(Level.INSTANCE, _STUDY)),
    Route("GET", _INSTANCE + "/series", parent(Level.INSTANCE, _SERIES)),
    # Tags.
    Route("GET", _INSTANCE + "/tags", instance_tags),
    Route("GET", _INSTANCE + "/simplified-tags", simplified_tags),
    Route("GET", _INSTANCE + "/header", instance_header),
    Route("GET", _INSTANCE + "/content", instance_content),
    Route("GET", _INSTANCE + "/content/{path+}", content_below),
    *(Route("GET", f"/{level.plural}/{{id}}/module", module(level)) for level in Level),
    Route("GET", "/studies/{id}/module-patient", module(_STUDY, _PATIENT)),
    *(
        Route("GET", f"/{level.plural}/{{id}}/{name}", make(level))
        for level in (_PATIENT, _STUDY, _SERIES)
        for name, make in (("shared-tags", shared_tags), ("instances-tags", instances_tags))
    ),
    # The log of changes.
    Route("GET", "/changes", list_changes),
    # Instances taken in, and resources deleted.
    Route("POST", "/instances", upload_instances, "write"),
    Route("DELETE", "/patients/{id}", delete_patient, "delete"),
    Route("DELETE", "/studies/{id}", delete_study, "delete"),
    Route("DELETE", "/series/{id}", delete_series, "delete"),
    Route("DELETE", "/instances/{id}", delete_instance, "delete"),
    Route("POST", "/tools/bulk-delete", delete_many, "delete"),
    # Searches. They change nothing, though they are sent by POST.
    Route("POST", "/tools/find", find_resources),
    Route("POST", "/tools/count-resources", count_resources),
    Route("POST", "/tools/lookup", look_up),
    Route("POST", "/tools/bulk-content", describe_resources),
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
    # Attachments.
    *attachment_routes(),
    *TAKE_OVER_ROUTES,
    # What Orthanc has and this archive has not: last, since these take any level.
    Route("POST", _RESOURCE + "/anonymize", not_offered),
    Route("POST", _RESOURCE + "/modify", not_offered),
    Route("POST", "/tools/bulk-anonymize", not_offered),
    Route("POST", "/tools/bulk-modify", not_offered),
    Route("GET", "/jobs/{rest+}", not_offered),
    Route("GET", "/modalities/{rest+}", not_offered),
    Route("POST", "/modalities/{rest+}", not_offered),
    Route("GET", "/peers/{rest+}", not_offered),
    Route("POST", "/peers/{rest+}", not_offered),
)
