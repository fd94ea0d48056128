"""The Retrieve transactions of objects, frames and bulk data (PS3.18 §10.4, §8.7)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import (
    FrameNotFoundError,
    InvalidResourceError,
    NotAcceptableError,
    ObjectChangedError,
    ResponseTooLargeError,
)
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.archives import body_of, small_archive
from tests.support.datasets import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    JPEG_LS,
    ct_instance,
    native_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

MULTIPART_DICOM = 'multipart/related; type="application/dicom"'
AS_STORED = f"{MULTIPART_DICOM}; transfer-syntax=*"
OHIF = "multipart/related; type=application/octet-stream; transfer-syntax=*"
ANY_PART = 'multipart/related; type="*/*"'


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes, key: str = "a") -> InstanceRow:
    (row,) = small.take({key: content}).indexed
    return row


def parts(response: Response) -> list[tuple[str, bytes]]:
    """Give the Content-Type and content of each part."""
    body = body_of(response)
    if response.length is not None:
        assert len(body) == response.length
    content_type = parse_media_type(response.header("Content-Type") or "")
    read = read_parts(BytesIO(body), content_type)
    return [(part.headers.get("Content-Type") or "", part.content.read()) for part in read]


def single(response: Response) -> tuple[str | None, bytes]:
    body = body_of(response)
    assert len(body) == response.length
    return response.header("Content-Type"), body


def dicom_type(syntax: str) -> str:
    return f"application/dicom; transfer-syntax={syntax}"


# --- instances -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [MULTIPART_DICOM, AS_STORED, ANY_PART, "multipart/related"])
def test_an_instance_is_one_part(small: Small, accept: str) -> None:
    content = ct_instance()
    row = taken(small, content)
    response = small.ask(row.instance.path, accept=accept)
    assert parts(response) == [(dicom_type(EXPLICIT_LITTLE_ENDIAN), content)]


@pytest.mark.parametrize("accept", [None, "*/*", "application/dicom", "application/*"])
def test_an_instance_alone_is_given_to_who_takes_it(small: Small, accept: str | None) -> None:
    content = ct_instance()
    response = small.ask(taken(small, content).instance.path, accept=accept)
    assert single(response) == (dicom_type(EXPLICIT_LITTLE_ENDIAN), content)


def test_what_does_not_go_on_the_web_leaves_explicit_little_endian(small: Small) -> None:
    row = taken(small, ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN))
    ((content_type, content),) = parts(small.ask(row.instance.path, accept=AS_STORED))
    assert content_type == dicom_type(EXPLICIT_LITTLE_ENDIAN)
    assert EXPLICIT_LITTLE_ENDIAN.encode() in content[:400]


@pytest.mark.parametrize(
    ("syntax", "accept", "is_given"),
    [
        (JPEG_LS, AS_STORED, True),
        (JPEG_LS, "*/*", True),
        (JPEG_LS, f"application/dicom; transfer-syntax={JPEG_LS}", True),
        (JPEG_LS, MULTIPART_DICOM, False),
        (JPEG_LS, f"application/dicom; transfer-syntax={JPEG_BASELINE}", False),
        (JPEG_BASELINE, MULTIPART_DICOM, True),
        (JPEG_BASELINE, "application/dicom", True),
        (JPEG_BASELINE, f"application/dicom; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}", False),
        (EXPLICIT_LITTLE_ENDIAN, "application/dicom+json", False),
        (EXPLICIT_LITTLE_ENDIAN, f"application/dicom; transfer-syntax={JPEG_BASELINE}", False),
        (
            EXPLICIT_LITTLE_ENDIAN,
            f"application/dicom; transfer-syntax={IMPLICIT_LITTLE_ENDIAN}",
            False,
        ),
    ],
)
def test_an_instance_is_given_as_stored_or_refused(
    small: Small, syntax: str, accept: str, is_given: bool
) -> None:
    """PS3.18 §8.7.3.4: lossy ones leave as stored when nothing is asked for.

    These hold no code streams, so that nothing is decoded.
    """
    content = ct_instance(transfer_syntax=syntax)
    path = taken(small, content).instance.path
    if not is_given:
        with pytest.raises(NotAcceptableError):
            small.ask(path, accept=accept)
        return
    assert content in body_of(small.ask(path, accept=accept))


# --- series and studies --------------------------------------------------------------------------


def test_a_study_is_all_its_instances_series_by_series(small: Small) -> None:
    contents = [
        ct_instance(series_instance_uid=series, instance_number=number)
        for series in ("1.2.1", "1.2.2")
        for number in (1, 2)
    ]
    row = small.take({f"{n}": each for n, each in enumerate(contents)}).indexed[0]
    response = small.ask(f"/studies/{row.instance.study_instance_uid}", accept=MULTIPART_DICOM)
    assert response.length is not None
    assert [content for _, content in parts(response)] == contents


def test_before_the_first_byte_each_series_is_read_once(small: Small) -> None:
    """And of its rows only what sending needs."""
    contents = {
        f"{series}-{number}": ct_instance(series_instance_uid=series, instance_number=number)
        for series in ("1.2.1", "1.2.2", "1.2.3")
        for number in range(1, 6)
    }
    row = small.take(contents).indexed[0]
    path = f"/studies/{row.instance.study_instance_uid}"

    def first_byte() -> Iterator[bytes]:
        body = small.ask(path, accept=AS_STORED).body
        assert not isinstance(body, bytes)
        chunks = iter(body)
        next(chunks)
        return chunks

    body, calls = small.ledger.of(first_byte)
    made = [(call.port, call.operation) for call in calls]
    assert made[:-2] == [("index", "query_series"), *[("index", "query_stored_objects")] * 3]
    assert made[-2:] == [("storage", "stream"), ("storage", "chunk")]
    _, rest = small.ledger.of(lambda: sum(map(len, body)))
    assert {call.port for call in rest} == {"storage"}


def test_an_object_that_is_written_anew_after_the_first_is_of_the_generation_told_of(
    small: Small,
) -> None:
    syntaxes = [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN]
    objects = {
        f"{number}": ct_instance(instance_number=number, transfer_syntax=syntax)
        for number, syntax in enumerate(syntaxes, start=1)
    }
    row = small.take(objects).indexed[0]
    response = small.ask(row.instance.series.path, accept=AS_STORED)
    small.take({"2": ct_instance(instance_number=2, rows=8)})
    assert not isinstance(response.body, bytes)
    with pytest.raises(ObjectChangedError):
        list(response.body)


def test_a_series_leaves_whole_whatever_its_instances_are_written_in(small: Small) -> None:
    """One that cannot be transcoded goes as stored, with the syntax that it has."""
    syntaxes = [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, JPEG_LS]
    objects = {
        syntax: ct_instance(instance_number=number, transfer_syntax=syntax)
        for number, syntax in enumerate(syntaxes, start=1)
    }
    row = small.take(objects).indexed[0]
    read = parts(small.ask(row.instance.series.path, accept=MULTIPART_DICOM))
    expected = [EXPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, JPEG_LS]
    assert [content_type for content_type, _ in read] == [dicom_type(each) for each in expected]


def test_an_instance_that_cannot_be_written_anew_goes_as_stored_among_others(
    small: Small,
) -> None:
    content = ct_instance(transfer_syntax=JPEG_LS, instance_number=2)
    at = content.index(b"\x02\x00\x10\x00UI")
    end = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
    untold = content[:at] + content[end:]
    row = taken(small, ct_instance())
    taken(small, untold, key="b")
    read = parts(small.ask(row.instance.series.path, accept=AS_STORED))
    assert read[1] == ("application/dicom", untold)


def test_a_change_in_the_middle_of_an_answer_leaves_it_without_its_end(small: Small) -> None:
    objects = {f"{n}": ct_instance(instance_number=n) for n in (1, 2)}
    row = small.take(objects).indexed[0]
    response = small.ask(row.instance.series.path, accept=AS_STORED)
    assert not isinstance(response.body, bytes)
    small.storage.put("2", ct_instance(instance_number=2, rows=8))
    chunks: list[bytes] = []
    with pytest.raises(ObjectChangedError):
        chunks.extend(response.body)
    sent = b"".join(chunks)
    assert objects["1"] in sent
    assert not sent.rstrip().endswith(b"--")
    # The next one who asks is answered.
    assert len(parts(small.ask(row.instance.series.path, accept=AS_STORED))) == 2


@pytest.mark.parametrize("level", ["study", "series"])
def test_a_change_of_the_first_object_is_told_before_anything_is_sent(
    small: Small, level: str
) -> None:
    row = small.take({f"{n}": ct_instance(instance_number=n) for n in (1, 2)}).indexed[0]
    series = row.instance.series
    path = series.path if level == "series" else f"/studies/{series.study_instance_uid}"
    small.storage.put("1", ct_instance(instance_number=1, rows=8))
    with pytest.raises(ObjectChangedError):
        small.ask(path, accept=AS_STORED)
    assert len(parts(small.ask(path, accept=AS_STORED))) == 2


@pytest.mark.parametrize("what", ["study", "series", "instance", "frames", "bulk data"])
@pytest.mark.parametrize("accept", [AS_STORED, ANY_PART, "*/*"])
def test_an_answer_over_the_limit_is_refused(tmp_path: Path, what: str, accept: str) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    instance = taken(small, ct_instance()).instance
    path = {
        "study": f"/studies/{instance.study_instance_uid}",
        "series": instance.series.path,
        "instance": instance.path,
        "frames": f"{instance.path}/frames/1",
        "bulk data": f"{instance.path}/bulkdata/7FE00010",
    }[what]
    if what in ("frames", "bulk data") and accept == AS_STORED:
        accept = OHIF
    with pytest.raises(ResponseTooLargeError):
        small.ask(path, accept=accept)


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [OHIF, ANY_PART, "multipart/related"])
@pytest.mark.parametrize("numbers", [[1], [3, 1], [2, 2]])
def test_frames_come_in_the_order_asked_for(small: Small, accept: str, numbers: list[int]) -> None:
    row = taken(small, ct_instance(frames=3))
    asked = ",".join(map(str, numbers))
    read = parts(small.ask(f"{row.instance.path}/frames/{asked}", accept=accept))
    expected = f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}"
    assert read == [(expected, native_frame(number)) for number in numbers]


def test_a_browser_gets_one_frame_alone(small: Small) -> None:
    row = taken(small, ct_instance(frames=3))
    _, content = single(small.ask(f"{row.instance.path}/frames/2"))
    assert content == native_frame(2)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("multipart/related; type=image/jpeg", "image/jpeg"),
        (OHIF, "application/octet-stream"),
        (ANY_PART, "image/jpeg"),
    ],
)
def test_compressed_frames_say_how_they_are_compressed(
    small: Small, accept: str, content_type: str
) -> None:
    row = taken(small, ct_instance(transfer_syntax=JPEG_BASELINE))
    ((found, _),) = parts(small.ask(f"{row.instance.path}/frames/1", accept=accept))
    assert found == f"{content_type}; transfer-syntax={JPEG_BASELINE}"


def test_lossy_frames_leave_as_stored_where_no_syntax_is_named(small: Small) -> None:
    """PS3.18 §8.7.3.3."""
    row = taken(small, ct_instance(transfer_syntax=JPEG_BASELINE))
    plain = "multipart/related; type=application/octet-stream"
    ((found, _),) = parts(small.ask(f"{row.instance.path}/frames/1", accept=plain))
    assert found == f"application/octet-stream; transfer-syntax={JPEG_BASELINE}"


@pytest.mark.parametrize(
    ("syntax", "named"),
    [(JPEG_LS, ""), (JPEG_BASELINE, f"; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}")],
)
def test_frames_that_cannot_be_decoded_are_not_given_to_who_takes_only_plain_ones(
    small: Small, syntax: str, named: str
) -> None:
    row = taken(small, ct_instance(transfer_syntax=syntax))
    with pytest.raises(NotAcceptableError, match="cannot be given"):
        small.ask(
            f"{row.instance.path}/frames/1",
            accept=f"multipart/related; type=application/octet-stream{named}",
        )


def test_a_list_of_frames_may_be_longer_than_a_uid(small: Small) -> None:
    row = taken(small, ct_instance(frames=300))
    asked = ",".join(map(str, range(1, 301)))
    assert len(parts(small.ask(f"{row.instance.path}/frames/{asked}", accept=OHIF))) == 300


@pytest.mark.parametrize(
    "asked", ["0", "-1", "x", "1,", ",1", "1.5", "²", "1" * 5_000, "1," * 10_000 + "1"]
)
def test_what_is_no_list_of_frames_is_refused(small: Small, asked: str) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(InvalidResourceError):
        small.ask(f"{row.instance.path}/frames/{asked}")


def test_a_frame_that_is_not_there_is_not_found(small: Small) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(FrameNotFoundError):
        small.ask(f"{row.instance.path}/frames/2")


def test_bulk_data_is_given_where_the_metadata_says(small: Small) -> None:
    row = taken(small, ct_instance(frames=2))
    read = parts(small.ask(f"{row.instance.path}/bulkdata/7FE00010", accept=ANY_PART))
    assert [content for _, content in read] == [native_frame(1) + native_frame(2)]
