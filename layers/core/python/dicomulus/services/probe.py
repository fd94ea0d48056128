"""Proof that an object which is put is answered, and that one which goes is not: a probe.

The probe is a tiny image without anything of a patient, under UIDs of its own: always the same study
and series, another instance each time, so that two probes at once do not meet. Its canonical key
needs no item in the index that would outlive it; what stays of a probe is a series without
instances, which no search shows.
"""

from __future__ import annotations

import json
import logging
import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from dicomulus.dicom.own_keys import PROBE_SERIES
from dicomulus.dicom.part10_writing import element, file_meta
from dicomulus.dicom.resource import InstanceResource, canonical_key
from dicomulus.errors import CorruptFragmentError, ObjectNotFoundError, UnavailableError
from dicomulus.metadata.bundle import bundle_key, parse_bundle
from dicomulus.metadata.gzip_assembly import gzip, json_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.services.archive import Archive

logger = logging.getLogger(__name__)

SERIES: Final = PROBE_SERIES
"""The series of all probes."""

PATIENT_ID: Final = "DICOMULUS-PROBE"

KEY_PREFIX: Final = canonical_key(
    InstanceResource(SERIES.study_instance_uid, SERIES.series_instance_uid, "1")
).removesuffix("1.dcm")
"""What the keys of all probes begin with, below the prefix of the storage area."""

RESEND_SECONDS: Final = 60
"""Seconds after which a probe that has not arrived is put again: the bucket may just have been told
to tell, which can take minutes, and tells nothing of what was put before."""

LEFT_BEHIND_SECONDS: Final = 3_600
"""Age of a probe's object from which whoever put it cannot be at work any more."""

_LOOK_SECONDS: Final = 1.0
_GZIP: Final = 31
"""What zlib calls the gzip format."""

_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"


class Target(Protocol):
    """Where probes are put."""

    def put(self, key: str, content: bytes) -> None:
        """Put an object."""

    def remove(self, key: str) -> None:
        """Remove all that was put under a key, for good."""

    def remove_older(self, prefix: str, *, age_seconds: float) -> int:
        """Remove objects under a prefix that are older; give how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what is waited for."""

    row_seconds: float = 240
    bundle_seconds: float = 90
    gone_seconds: float = 90


AT_DEPLOYMENT: Final = Patience(row_seconds=600)
"""After a bucket was told to tell its changes it may take minutes until it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """After how many seconds what was there, or gone."""

    row_seconds: float
    bundle_seconds: float
    gone_seconds: float


class Probe:
    """Puts probes, waits for them, reads them and removes them."""

    def __init__(
        self,
        archive: Archive,
        target: Target,
        *,
        base_url: str,
        hold_up: Callable[[], str],
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Read from an archive what comes of the objects that are put.

        Args:
            archive: Where rows and bundles are read.
            target: Where objects are put.
            base_url: Base URL for which bundles are made on arrival.
            hold_up: Tells where messages are, for people, when something does not come.
            now: Gives seconds of any origin.
            sleep: Waits so many seconds.
        """
        self._archive = archive
        self._target = target
        self._base_url = base_url
        self._hold_up = hold_up
        self._now = now
        self._sleep = sleep

    def run(self, patience: Patience) -> ProbeReport:
        """Prove the path from an object to its answers and back; leave nothing in any case.

        Raises:
            UnavailableError: Something did not come or go in time, or was answered wrongly; the text
                says what, and where it may have been held up.
        """
        self._target.remove_older(KEY_PREFIX, age_seconds=LEFT_BEHIND_SECONDS)
        uid = f"2.25.{uuid.uuid4().int}"
        instance = InstanceResource(SERIES.study_instance_uid, SERIES.series_instance_uid, uid)
        start = self._now()
        try:
            self._put_until_indexed(instance, probe_object(uid), seconds=patience.row_seconds)
            row_seconds = self._now() - start
            self._await(
                lambda: uid in self._bundled(),
                patience.bundle_seconds,
                missing="its series was not compacted",
            )
            bundle_seconds = self._now() - start
            self._check(instance)
        finally:
            self._target.remove(canonical_key(instance))
        removed = self._now()
        self._await(
            lambda: self._is_gone(instance),
            patience.gone_seconds,
            missing="it was removed and is still answered",
        )
        report = ProbeReport(
            row_seconds=row_seconds,
            bundle_seconds=bundle_seconds,
            gone_seconds=self._now() - removed,
        )
        logger.info("the probe was answered", extra={"seconds": round(bundle_seconds, 1)})
        return report

    def _put_until_indexed(
        self, instance: InstanceResource, content: bytes, *, seconds: float
    ) -> None:
        key = canonical_key(instance)
        next_put = self._now()

        def is_indexed() -> bool:
            nonlocal next_put
            if self._now() >= next_put:
                self._target.put(key, content)
                next_put = self._now() + RESEND_SECONDS
            return bool(self._archive.index.get_instance(instance))

        self._await(is_indexed, seconds, missing="it was not indexed")

    def _await(self, is_so: Callable[[], bool], seconds: float, *, missing: str) -> None:
        end = self._now() + seconds
        while not is_so():
            if self._now() >= end:
                where = self._hold_up()
                raise UnavailableError(f"probe: {missing} within {seconds:.0f} s: {where}")
            self._sleep(_LOOK_SECONDS)

    def _bundled(self) -> set[str]:
        """Give the instances in the series' bundle, if that is what a reader would get."""
        row = self._archive.index.get_series(SERIES)
        try:
            read = self._archive.cache.get(bundle_key(SERIES, self._base_url))
            bundle = parse_bundle(read.data)
        except (ObjectNotFoundError, CorruptFragmentError):
            return set()
        if row is None or bundle.version != row.version:
            return set()
        text = zlib.decompress(b"".join(gzip(json_array([bundle.block]))), _GZIP)
        return {_uid_of(each) for each in json.loads(text)}

    def _is_gone(self, instance: InstanceResource) -> bool:
        row = self._archive.index.get_series(SERIES)
        # Counts, by which searches go, are written before the due time is removed.
        is_settled = row is None or row.compact_due_ms is None
        return is_settled and not self._archive.index.get_instance(instance)

    def _check(self, instance: InstanceResource) -> None:
        """Read the instance's own metadata as a client does."""
        text = self._archive.metadata.instance(instance, base_url=self._base_url)
        (answer,) = json.loads(text)
        if _uid_of(answer) != instance.sop_instance_uid:
            raise UnavailableError("probe: its metadata is that of another instance")


def probe_object(sop_instance_uid: str) -> bytes:
    """Write the object of a probe: an image of one grey pixel."""
    texts: dict[int, tuple[str, str]] = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080016: ("UI", _SECONDARY_CAPTURE),
        0x00080018: ("UI", sop_instance_uid),
        0x00080020: ("DA", ""),
        0x00080030: ("TM", ""),
        0x00080050: ("SH", ""),
        0x00080060: ("CS", "OT"),
        0x00080064: ("CS", "SYN"),
        0x00080090: ("PN", ""),
        0x00081030: ("LO", "Proves that the archive works; gone in a moment"),
        0x00100010: ("PN", "Probe^Dicomulus"),
        0x00100020: ("LO", PATIENT_ID),
        0x00100030: ("DA", ""),
        0x00100040: ("CS", ""),
        0x0020000D: ("UI", SERIES.study_instance_uid),
        0x0020000E: ("UI", SERIES.series_instance_uid),
        0x00200010: ("SH", ""),
        0x00200011: ("IS", "1"),
        0x00200013: ("IS", "1"),
        0x00280004: ("CS", "MONOCHROME2"),
    }
    numbers = {
        0x00280002: 1,
        0x00280010: 1,
        0x00280011: 1,
        0x00280100: 8,
        0x00280101: 8,
        0x00280102: 7,
        0x00280103: 0,
    }
    elements = {tag: element(tag, vr, text.encode()) for tag, (vr, text) in texts.items()}
    elements |= {tag: element(tag, "US", struct.pack("<H", n)) for tag, n in numbers.items()}
    elements[0x7FE00010] = element(0x7FE00010, "OB", b"\x80")
    meta = file_meta(
        sop_class_uid=_SECONDARY_CAPTURE,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=_EXPLICIT_LITTLE_ENDIAN,
    )
    return meta + b"".join(elements[tag] for tag in sorted(elements))


def _uid_of(answer: dict[str, Any]) -> str:
    uid: str = answer["00080018"]["Value"][0]
    return uid
