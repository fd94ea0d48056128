from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.client.http_client import HttpClient
from dicomulus.client.journal import Journal
from dicomulus.client.progress import Meter
from dicomulus.client.push import push
from tests.support.datasets import ct_instance
from tests.support.remote_server import Asked, remote_server

if TYPE_CHECKING:
    from pathlib import Path


def test_what_has_ended_is_not_under_way() -> None:
    meter = Meter()
    with meter.moving() as first, meter.moving() as second:
        first.at(10)
        second.at(5)
        second.at(7)
        assert meter.total_bytes == 17
    assert meter.total_bytes == 0


def test_what_is_being_sent_is_counted(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(ct_instance(rows=64, columns=64))
    seen: list[int] = []
    with remote_server() as remote:
        client = HttpClient(remote.url)

        def look(_: Asked) -> None:
            seen.append(client.meter.total_bytes)

        remote.interfere = look
        journal = Journal(tmp_path / "journal", client.base_url)
        push(client, [tmp_path / "1.dcm"], journal=journal)
        journal.close()
        assert seen == [len(remote.asked[0].body)]
    assert client.meter.total_bytes == 0
