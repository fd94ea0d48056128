"""`dicomulus cost`: amounts times prices, by one's own figures."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost import usage as used
from dicomulus.cli.cost.bill import (
    LABELS,
    answers_of_a_million,
    ingest_of_a_million,
    monthly_bill,
    usd_of,
)
from dicomulus.cli.cost.ledger import Ledger, Round, read_ledger
from dicomulus.cli.cost.peers import health_imaging, healthcare_api
from dicomulus.cli.cost.prices import SOURCE, Prices, read_prices
from dicomulus.cli.cost.workload import CLINIC, CT, Workload, read_workload, workload_of
from dicomulus.cli.exit_status import ERROR
from dicomulus.cli.main import main
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.cli.cost.bill import Part

PRICES = Prices()
NOTHING = replace(CT, studies=0)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger()


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("canonical", [False, True])
def test_a_million_instances_are_ingested_for_12_dollars(
    ledger: Ledger, adopted: bool, canonical: bool
) -> None:
    workload = replace(CT, batch=32, adopted=adopted, canonical_keys=canonical)
    lines = ingest_of_a_million(ledger, workload, PRICES)
    assert usd_of(lines) <= 12
    assert {"S3, PUT and LIST", "DynamoDB, write", "Lambda, duration", "CloudWatch, log"} <= {
        line.what for line in lines
    }


def test_a_million_answers_with_the_metadata_of_a_series_cost_6_dollars(ledger: Ledger) -> None:
    lines = answers_of_a_million(ledger, names.SERIES_METADATA, CT, PRICES, counts_bytes_out=False)
    assert usd_of(lines) <= 6
    assert {"API Gateway", "Lambda, duration", "S3, GET and HEAD"} <= {line.what for line in lines}


# --- ingest, taken apart --------------------------------------------------------------------------


@pytest.mark.parametrize("canonical", [False, True])
def test_instances_series_and_batches_come_to_what_was_counted(
    ledger: Ledger, canonical: bool
) -> None:
    parts = used.ingest_parts(ledger, canonical=canonical)
    for name, series in (
        (names.INGEST_CANONICAL if canonical else names.INGEST, 1),
        (names.INGEST_SHORT_CANONICAL if canonical else names.INGEST_SHORT, 32),
    ):
        counted = ledger[name]
        total = used.added(
            used.scaled(parts.instance, counted.count),
            used.scaled(parts.series, series),
            used.scaled(parts.batch, counted.invocations),
        )
        assert total == pytest.approx(used.requests_of(counted))


def test_a_key_that_does_not_name_its_instance_is_one_write_more(ledger: Ledger) -> None:
    other = used.ingest_parts(ledger, canonical=False).instance["dynamodb_write"]
    canonical = used.ingest_parts(ledger, canonical=True).instance["dynamodb_write"]
    assert other == pytest.approx(3, abs=0.01)
    assert canonical == pytest.approx(2, abs=0.01)


def test_larger_batches_are_cheaper(ledger: Ledger) -> None:
    usd = [
        usd_of(ingest_of_a_million(ledger, replace(CT, batch=batch), PRICES))
        for batch in (1, 2, 8, 32)
    ]
    assert usd == sorted(usd, reverse=True)


def test_no_batch_is_larger_than_the_series_or_the_queue_gives(ledger: Ledger) -> None:
    small = replace(CT, instances=3)
    assert used.ingest(ledger, replace(small, batch=32), studies=1) == used.ingest(
        ledger, replace(small, batch=3), studies=1
    )
    assert used.ingest(ledger, replace(CT, batch=500), studies=1) == used.ingest(
        ledger, replace(CT, batch=32), studies=1
    )


# --- the bill -------------------------------------------------------------------------------------


def test_every_line_is_an_amount_times_a_price(ledger: Ledger) -> None:
    lines = monthly_bill(ledger, CT, PRICES)
    assert usd_of(lines) == pytest.approx(sum(line.amount * line.usd_each for line in lines))
    assert all(line.usd >= 0 for line in lines)


def test_every_price_has_a_line_and_a_source() -> None:
    assert set(LABELS) == {each.name for each in fields(Prices)}
    assert all(each.metadata[SOURCE] for each in fields(Prices))


def test_twice_the_studies_cost_twice_what_does_not_stand_idle(ledger: Ledger) -> None:
    once = monthly_bill(ledger, CT, PRICES)
    twice = monthly_bill(ledger, replace(CT, studies=2 * CT.studies), PRICES)
    parts: tuple[Part, ...] = ("stored", "ingested", "viewed", "checked")
    for part in parts:
        assert usd_of(twice, part) == pytest.approx(2 * usd_of(once, part))
    assert usd_of(twice, "idle") == usd_of(once, "idle")


def test_an_archive_without_studies_costs_what_stands_idle(ledger: Ledger) -> None:
    lines = monthly_bill(ledger, NOTHING, PRICES)
    assert usd_of(lines) == usd_of(lines, "idle") > 0


def test_idle_queues_are_asked_five_times_every_20_seconds(ledger: Ledger) -> None:
    receives = used.idle(ledger, CT)["sqs_request"]
    assert receives == pytest.approx(2 * 5 * 3 * 60 * 24 * 365.25 / 12)


@pytest.mark.parametrize(
    ("option", "price"),
    [
        ({"adopted": True}, "eventbridge_event"),
        ({"cloudfront": True}, "cloudfront_gb"),
        ({"kms": True}, "kms_key_month"),
        ({"waf": True}, "waf_request"),
        ({"storage_class": "intelligent"}, "s3_intelligent_object_month"),
        ({"storage_class": "instant"}, "s3_instant_gb_month"),
    ],
)
def test_an_option_has_its_line(ledger: Ledger, option: dict[str, Any], price: str) -> None:
    what = LABELS[price][0]
    assert what not in {line.what for line in monthly_bill(ledger, CT, PRICES)}
    lines = monthly_bill(ledger, replace(CT, **option), PRICES)
    assert sum(line.usd for line in lines if line.what == what) > 0


def test_a_page_of_another_origin_asks_the_gateway_twice(ledger: Ledger) -> None:
    same = used.views(ledger, CT, studies=1)["gateway_request"]
    other = used.views(ledger, replace(CT, cross_origin=True), studies=1)["gateway_request"]
    assert other == 2 * same


def test_an_answer_over_10_mb_counts_for_each_of_them(ledger: Ledger) -> None:
    one = used.answer(ledger, names.FRAME, CT, size=10_485_760)
    more = used.answer(ledger, names.FRAME, CT, size=10_485_761)
    assert (one["gateway_request"], more["gateway_request"]) == (1, 2)
    assert more["lambda_stream_gb"] == pytest.approx((10_485_761 - 6_291_456) / 1e9)


def test_what_is_kept_longer_moves_to_the_cheaper_tiers(ledger: Ledger) -> None:
    tiers = used.stored(ledger, replace(CT, storage_class="intelligent"), studies=1, months=10)
    size = CT.series * CT.instances * CT.instance_bytes / 2**30
    assert tiers["s3_intelligent_infrequent_gb_month"] == pytest.approx(2 * size)
    assert tiers["s3_intelligent_archive_gb_month"] == pytest.approx(7 * size)


def test_requests_at_once_take_as_long_as_the_slowest(ledger: Ledger) -> None:
    def seconds(*rounds: Round) -> float:
        frame = replace(ledger[names.FRAME], rounds=rounds, processor_ms=10)
        return used.seconds_of(replace(ledger, operations={names.FRAME: frame}), names.FRAME)

    alone = seconds(Round("s3:GetObject", 1, 1))
    together = seconds(Round("s3:GetObject", 16, 16))
    in_turn = seconds(Round("s3:GetObject", 16, 1))
    assert 0.010 < alone < together < in_turn
    assert seconds(Round("s3:GetObject", 32, 16)) == pytest.approx(2 * together - 0.010)


def test_half_the_memory_is_half_a_processor(ledger: Ledger) -> None:
    def seconds(memory_mb: int) -> float:
        small = replace(ledger.deployed, memory_mb={**ledger.deployed.memory_mb, "read": memory_mb})
        read = replace(ledger[names.NOT_MODIFIED], rounds=(), processor_ms=10)
        operations = {names.NOT_MODIFIED: read}
        return used.seconds_of(
            replace(ledger, deployed=small, operations=operations), names.NOT_MODIFIED
        )

    assert seconds(1_769) == seconds(3_538) == pytest.approx(0.010)
    assert seconds(1_769 // 2) == pytest.approx(0.020, rel=0.01)


def test_what_is_compared_grows_with_what_is_kept(ledger: Ledger) -> None:
    once = usd_of(monthly_bill(ledger, CT, PRICES), "checked")
    longer = replace(CT, months=2 * CT.months)
    # What is recent is compared each day, and is no more of it than before.
    assert usd_of(monthly_bill(ledger, longer, PRICES), "checked") == pytest.approx(
        2 * once, rel=0.03
    )
    whole = replace(CT, compare_days=1)
    assert usd_of(monthly_bill(ledger, whole, PRICES), "checked") > 2.5 * once
    never = replace(CT, reconciles=0, verifications=0)
    assert usd_of(monthly_bill(ledger, never, PRICES), "checked") == 0


# --- elsewhere ------------------------------------------------------------------------------------


def test_a_tebibyte_for_a_month_costs_elsewhere_what_is_published(ledger: Ledger) -> None:
    tebibyte = Workload(
        studies=1024, series=1, instances=1, instance_bytes=2**30, months=1, views=0
    )
    assert health_imaging(ledger, tebibyte, PRICES).usd == pytest.approx(107.52)
    google = healthcare_api(ledger, tebibyte, PRICES)
    assert google.stored == pytest.approx(20.48, abs=0.01)


def test_a_small_image_set_counts_as_5_mb(ledger: Ledger) -> None:
    small = Workload(studies=1000, series=1, instances=1, instance_bytes=1000, months=1, views=0)
    assert health_imaging(ledger, small, PRICES).stored == pytest.approx(1000 * 0.005 * 0.105)


# --- one's own figures ----------------------------------------------------------------------------


def test_figures_and_prices_come_from_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("studies = 10\nmonths = 1\nkms = true\n")
    (tmp_path / "prices.json").write_text('{"s3_put": 0.001}')
    files = ["--workload", str(tmp_path / "mine.toml"), "--prices", str(tmp_path / "prices.json")]
    assert main(["cost", "--json", *files, "--series", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["workload"]["studies"] == 10
    assert told["workload"]["series"] == 2
    assert told["workload"]["kms"] is True
    puts = [each for each in told["lines"] if each["what"] == "S3, PUT and LIST"]
    assert {each["usd_each"] for each in puts} == {0.001}
    assert told["usd_a_month_in_all"] == pytest.approx(sum(each["usd"] for each in told["lines"]))


def test_the_bill_is_text_that_adds_up(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--model", "clinic"]) == 0
    told = capsys.readouterr().out
    assert f"A month in all: {usd_of(monthly_bill(ledger, CLINIC, PRICES)):,.2f} USD" in told
    assert "AWS HealthImaging" in told


def test_prices_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--show-prices"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(fields(Prices))
    assert "s3_put = 5e-06  # aws.amazon.com/s3/pricing: PUT, COPY, POST, LIST of Standard" in told


def test_what_is_listed_is_a_file_of_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["cost", "--show-prices"])
    path = tmp_path / "prices.toml"
    path.write_text(capsys.readouterr().out)
    assert read_prices(path) == PRICES


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"patients": 3}, "patients"),
        ({"studies": -1}, "studies"),
        ({"studies": "many"}, "studies"),
        ({"studies": float("nan")}, "studies"),
        ({"viewed_share": 2}, "viewed_share"),
        ({"batch": 0}, "batch"),
        ({"kms": "perhaps"}, "kms"),
        ({"storage_class": "tape"}, "storage_class"),
        ({"authorization": "password"}, "authorization"),
    ],
)
def test_what_no_workload_is_is_refused_by_name(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        workload_of(given)


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"gold": 1}', '{"s3_put": "free"}', '{"s3_put": -1}']
)
def test_a_file_that_holds_no_prices_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"prices\.json"):
        read_prices(path)


def test_a_file_of_a_workload_is_named_when_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("patients = 3\n")
    with pytest.raises(ConfigurationError, match=r"mine\.toml: patients"):
        read_workload(path)
    with pytest.raises(ConfigurationError, match="missing"):
        read_workload(tmp_path / "missing.toml")


def test_a_wrong_figure_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--studies", "-3"]) == ERROR
    assert "studies" in capsys.readouterr().err
