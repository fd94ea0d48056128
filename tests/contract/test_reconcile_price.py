"""What a comparison of an archive in which nothing is wrong costs on AWS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from dicomulus.composition import aws_archive
from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import canonical_key
from dicomulus.services.findings import Checked
from dicomulus.services.wishes import Cursor, Wishes
from tests.benchmarks.aws_meter import Meter
from tests.benchmarks.aws_operations import _clients_of
from tests.support.datasets import generated_study
from tests.support.deployed import deployed

if TYPE_CHECKING:
    from tests.benchmarks.aws_prices import Bill

SERIES = 2
INSTANCES = 60

DAYS = 7


@dataclass(frozen=True, slots=True)
class Bills:
    """What runs cost over one archive."""

    whole: Bill
    days: list[Bill]
    """Of the runs of successive days, of which each compares a share."""
    compared: int
    """Objects that these have compared."""


def bills_of(*, is_stored: bool) -> Bills:
    """Compare an old archive whose objects lie as STOW-RS stores them, or under any keys."""
    with deployed() as system:
        with system.environment_of("reconcile"):
            settings = replace(system.settings, stable_age_seconds=0)
            archive = aws_archive(settings)
        contents = {}
        for number, each in enumerate(generated_study(series=SERIES, instances=INSTANCES)):
            key = canonical_key(convert(whole(each.content)).instance)
            contents[key if is_stored else f"any/{number:04d}"] = each.content
        for key, content in contents.items():
            system.clients.s3.put_object(Bucket=settings.storage_bucket, Key=key, Body=content)
        archive.ingest.look_at(list(contents))
        archive.compaction.compact(archive.index.overdue_series(2**62))
        while archive.stability.record_due():
            pass
        listed = [replace(info, modified_ms=0) for info in archive.storage.list()]
        meter = Meter(system.clients.dynamodb)
        meter.connect(*_clients_of(archive))
        compared = 0

        def billed(wishes: Wishes) -> Bill:
            nonlocal compared
            with meter.reading() as bill:
                findings = archive.reconcile.compare_objects(listed, wishes)
                walked, cursor = archive.reconcile.compare_rows(Cursor(), wishes)
            assert findings.is_clean
            assert walked.is_clean
            assert cursor is None
            compared += findings.checked[Checked.OBJECTS]
            return bill

        whole_run = billed(Wishes(days=30 // DAYS, day=1))
        compared = 0
        days = [
            billed(Wishes(days=30, day=day, compare_days=DAYS)) for day in range(100, 100 + DAYS)
        ]
        return Bills(whole_run, days, compared)


# By the layout: read units of an object, and the USD of DynamoDB and S3 for a million objects.
MOST = {"as stored": (0.6, 0.16), "under any keys": (1.8, 0.32)}


@pytest.mark.parametrize("layout", MOST)
def test_a_clean_archive_costs_a_few_reads_for_each_object(layout: str) -> None:
    bills = bills_of(is_stored=layout == "as stored")
    objects = SERIES * INSTANCES
    units, usd = MOST[layout]
    bill = bills.whole
    assert bill.write_units == 0
    assert bill.read_units / objects < units
    assert bill.usd * 1_000_000 / objects < usd
    # Objects are found in listings, not one by one.
    assert "s3:HeadObject" not in bill.requests
    # The scheduled runs of a week cost together what one over everything does.
    assert bills.compared == objects
    assert sum(each.write_units for each in bills.days) == 0
    week = sum(each.read_units for each in bills.days)
    assert week == pytest.approx(bill.read_units, rel=0.15)
