from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from dicomulus.client.sources import Unusable, ZipArchives, find_sources
from dicomulus.errors import SourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.client.sources import Source


@pytest.fixture
def archives() -> Iterator[ZipArchives]:
    opened = ZipArchives()
    yield opened
    opened.close()


def contents(found: list[Source | Unusable]) -> dict[str, bytes]:
    read = {}
    for each in found:
        assert not isinstance(each, Unusable), each
        with each.open() as content:
            read[each.name] = content.read()
    return read


def zip_of(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_folders_are_walked_in_the_order_of_names(tmp_path: Path, archives: ZipArchives) -> None:
    for name in ("b/2", "b/1", "a", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    names = [each.name for each in find_sources([tmp_path], archives)]
    assert names == [str(tmp_path / name) for name in ("a", "b/1", "b/2", "c/d/e")]


def test_a_folder_that_links_to_itself_is_walked_once(
    tmp_path: Path, archives: ZipArchives
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(find_sources([tmp_path], archives))) == 1


def test_a_path_that_is_not_there_is_a_failure(tmp_path: Path, archives: ZipArchives) -> None:
    missing = tmp_path / "none"
    [found] = find_sources([missing], archives)
    assert found == Unusable(str(missing), "No such file or directory", is_failure=True)


def test_members_of_zip_files_are_found_with_their_folders(
    tmp_path: Path, archives: ZipArchives
) -> None:
    path = zip_of(tmp_path / "study.zip", one=b"1", a__b__two=b"2" * 100_000)
    found = list(find_sources([tmp_path], archives))
    assert contents(found) == {f"{path}/one": b"1", f"{path}/a/b/two": b"2" * 100_000}


def test_a_zip_file_is_known_by_its_bytes_not_its_name(
    tmp_path: Path, archives: ZipArchives
) -> None:
    zip_of(tmp_path / "study.data", one=b"1")
    (tmp_path / "text.zip").write_bytes(b"no zip file")
    names = [each.name for each in find_sources([tmp_path], archives)]
    assert names == [str(tmp_path / "study.data/one"), str(tmp_path / "text.zip")]


def test_more_zip_files_than_are_kept_open(tmp_path: Path, archives: ZipArchives) -> None:
    for number in range(12):
        zip_of(tmp_path / f"{number:02d}.zip", one=b"%d" % number)
    found = list(find_sources([tmp_path], archives))
    assert list(contents(found).values()) == [b"%d" % number for number in range(12)]


def test_zip_files_within_zip_files_and_encrypted_members_are_told(
    tmp_path: Path, archives: ZipArchives
) -> None:
    path = zip_of(tmp_path / "outer.zip", **{"inner.zip": b"PK", "secret": b"x"})
    marked = bytearray(path.read_bytes())
    # The flag of encryption, in the local header and in the directory of the last member.
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[marked.rindex(magic) + offset] |= 1
    path.write_bytes(marked)
    found = {each.name: each for each in find_sources([path], archives)}
    assert found[f"{path}/inner.zip"] == Unusable(
        f"{path}/inner.zip", "a zip file within a zip file"
    )
    assert found[f"{path}/secret"] == Unusable(
        f"{path}/secret", "encrypted in the zip file", is_failure=True
    )


def test_a_zip_file_that_declares_more_than_deflate_can_give_is_refused(
    tmp_path: Path, archives: ZipArchives
) -> None:
    path = zip_of(tmp_path / "bomb.zip", one=b"1")
    forged = bytearray(path.read_bytes())
    at = forged.rindex(b"PK\x01\x02") + 24
    forged[at : at + 4] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(forged)
    [found] = find_sources([path], archives)
    assert isinstance(found, Unusable)
    assert found.is_failure
    assert "grows" in found.reason


def test_a_damaged_member_is_an_error_when_it_is_read(
    tmp_path: Path, archives: ZipArchives
) -> None:
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one", b"abcdefgh" * 100)
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 0xFF
    path.write_bytes(damaged)
    [found] = find_sources([path], archives)
    assert not isinstance(found, Unusable)
    with found.open() as content, pytest.raises(SourceFileError, match="damaged"):
        content.read()


def test_a_file_that_has_changed_since_it_was_found_is_not_sent(
    tmp_path: Path, archives: ZipArchives
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    [found] = find_sources([path], archives)
    assert not isinstance(found, Unusable)
    path.write_bytes(b"after!")
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceFileError, match="changed"):
        found.open()


def test_what_is_neither_file_nor_folder_is_left_out(tmp_path: Path, archives: ZipArchives) -> None:
    os.mkfifo(tmp_path / "pipe")
    [found] = find_sources([tmp_path], archives)
    assert found == Unusable(str(tmp_path / "pipe"), "no file")


def test_a_zip_file_cut_short_is_a_failure(tmp_path: Path, archives: ZipArchives) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("one", b"1" * 1000)
    (tmp_path / "cut.zip").write_bytes(whole.getvalue()[:500])
    [found] = find_sources([tmp_path], archives)
    assert isinstance(found, Unusable)
    assert found.is_failure
