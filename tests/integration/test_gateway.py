"""Modalities that store by DIMSE, and the archive that gets it by DICOMweb."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from dicomulus.client.gateway import Provider, ProviderOptions
from dicomulus.client.spool import Spool
from dicomulus.errors import ConfigurationError
from tests.support.datasets import ct_instance, uid_of, write_study
from tests.support.dimse import (
    RunningGateway,
    associated,
    data_set_of,
    gateway,
    send_files,
)
from tests.support.remote_server import remote_server, uid_of_object
from tests.support.serving import Served, eventually, serving, serving_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
NOWHERE = "http://127.0.0.1:1"
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big-endian": "1.2.840.10008.1.2.2",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "rle": "1.2.840.10008.1.2.5",
}
STORESCU = shutil.which("storescu")
INSTANCES = 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "source").mkdir()
    arguments = (folder / "source", "--data-dir", folder / "data", "--allow-store")
    with serving(*arguments, log=folder / "log") as running:
        yield running


@pytest.fixture(scope="module")
def forwarding(
    served: Served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    with gateway(served.base_url, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose server is away."""
    with gateway(NOWHERE, tmp_path_factory.mktemp("holding")) as running:
        yield running


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_an_echo_is_answered(holding: RunningGateway) -> None:
    with associated(holding.port) as association:
        assert association.send_c_echo().Status == SUCCESS


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_an_instance_is_on_the_disk_as_it_was_sent_before_success_is_said(
    holding: RunningGateway, tmp_path: Path, syntax: str
) -> None:
    """PS3.4 §B.2.3; PS3.10 §7.1 for the meta information that the association tells."""
    content = ct_instance(instance_number=7, transfer_syntax=syntax)
    known = set(holding.waiting())
    assert send_files(holding.port, [written(tmp_path, "a.dcm", content)]) == [SUCCESS]
    [spooled] = set(holding.waiting()) - known
    assert data_set_of(spooled.read_bytes()) == data_set_of(content)
    assert syntax.encode() in spooled.read_bytes()[:400]


def test_a_private_class_is_stored_too(holding: RunningGateway, tmp_path: Path) -> None:
    """PS3.4 §B.5: a class of a maker's own is one of its private UIDs."""
    private = "1.3.12.2.1107.5.9.1"
    content = ct_instance(instance_number=8, attributes={"SOPClassUID": private})
    assert send_files(holding.port, [written(tmp_path, "a.dcm", content)]) == [SUCCESS]


def test_what_says_of_no_instance_is_refused_at_once(
    holding: RunningGateway, tmp_path: Path
) -> None:
    broken = written(tmp_path, "a.dcm", ct_instance(omit=("StudyInstanceUID",)))
    sound = written(tmp_path, "b.dcm", ct_instance(instance_number=9))
    known = set(holding.waiting())
    assert send_files(holding.port, [broken, sound]) == [CANNOT_UNDERSTAND, SUCCESS]
    assert len(set(holding.waiting()) - known) == 1


def test_a_full_disk_is_out_of_resources_and_no_end(tmp_path: Path) -> None:
    large = written(tmp_path, "large.dcm", ct_instance(rows=300, columns=300))
    small = written(tmp_path, "small.dcm", ct_instance(instance_number=2))
    with gateway(NOWHERE, tmp_path, max_file_bytes=100_000) as running:
        assert send_files(running.port, [large, small]) == [OUT_OF_RESOURCES, SUCCESS]
        assert len(running.waiting()) == 1
        assert list((running.spool / "incoming").iterdir()) == []


def test_an_association_that_breaks_off_leaves_nothing(
    holding: RunningGateway, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.dcm", ct_instance(rows=1000, columns=1000))
    known = holding.waiting()
    sending = subprocess.Popen([sys.executable, "-c", HALF, str(holding.port), str(path)])
    assert sending.wait(60) == 3
    assert holding.waiting() == known
    with associated(holding.port) as association:
        assert association.send_c_echo().Status == SUCCESS


def test_a_pdu_that_says_it_is_larger_than_any_ends_its_connection(
    holding: RunningGateway,
) -> None:
    """PS3.8 §9.3.1: its length may be of 4 GiB, and whoever sends it need not be known."""
    head = b"\x01\x00" + (2**31 - 1).to_bytes(4, "big")
    with (
        socket.create_connection(("127.0.0.1", holding.port), timeout=10) as connection,
        pytest.raises(ConnectionError),
    ):
        connection.sendall(head + bytes(67_108_864))
    with associated(holding.port) as association:
        assert association.send_c_echo().Status == SUCCESS


def test_titles_are_checked_where_that_is_asked_for(tmp_path: Path) -> None:
    with gateway(NOWHERE, tmp_path, "--check-aet", "--accept-from", "CT1") as running:
        with associated(running.port, called="OTHER", calling="CT1") as association:
            assert association.is_rejected
        with associated(running.port, calling="MR1") as association:
            assert association.is_rejected
        with associated(running.port, calling="CT1") as association:
            assert association.is_established


def test_every_title_is_let_in_otherwise(holding: RunningGateway) -> None:
    with associated(holding.port, called="OTHER") as association:
        assert association.is_established


@pytest.mark.parametrize("title", ["", " ", "MORE THAN SIXTEEN", "BACK\\SLASH", "ÄTHER"])
def test_a_title_that_is_none_is_refused(tmp_path: Path, title: str) -> None:
    """PS3.5 §6.2: 16 characters at most, no backslash, no control characters."""
    spool = Spool(tmp_path)
    options = ProviderOptions(ae_title=title, host="127.0.0.1", port=0)
    with pytest.raises(ConfigurationError, match="is no AE title"):
        Provider(spool, options, received=lambda: None)
    spool.close()


def test_what_was_received_arrives(
    forwarding: RunningGateway, served: Served, tmp_path: Path
) -> None:
    study = uid_of("through the gateway")
    paths = [
        written(
            tmp_path,
            f"{number}.dcm",
            ct_instance(study_instance_uid=study, instance_number=number, transfer_syntax=syntax),
        )
        for number, syntax in enumerate(SYNTAXES.values())
    ]
    assert set(send_files(forwarding.port, paths)) == {SUCCESS}
    forwarding.forwarded()
    found = served.values(f"/studies/{study}/instances", "00080018")
    assert found == {uid_of_object(path.read_bytes()) for path in paths}


def test_what_the_archive_refuses_is_put_aside_with_the_reason(
    forwarding: RunningGateway, served: Served, tmp_path: Path
) -> None:
    """Under `keep`, an archive holds on to the first object of an instance."""
    first = written(tmp_path, "1.dcm", ct_instance(instance_number=40))
    other = written(tmp_path, "2.dcm", ct_instance(instance_number=40, patient_name="Other^Name"))
    assert send_files(forwarding.port, [first]) == [SUCCESS]
    forwarding.forwarded()
    assert send_files(forwarding.port, [other]) == [SUCCESS]
    forwarding.forwarded()
    [kept] = (forwarding.spool / "refused").glob("*.dcm")
    assert data_set_of(kept.read_bytes()) == data_set_of(other.read_bytes())
    assert "another object under the same UIDs" in kept.with_suffix(".txt").read_text()


def test_nothing_is_lost_when_gateway_and_server_die(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, f"{number}.dcm", ct_instance(instance_number=number))
        for number in range(20)
    ]
    with gateway(NOWHERE, tmp_path) as first:
        assert send_files(first.port, paths) == [SUCCESS] * 20
        first.end(signal.SIGKILL)
    with remote_server() as remote, gateway(remote.url, tmp_path) as second:
        second.forwarded()
        assert len(remote.objects) == 20
        assert second.end().splitlines()[-1] == ("Received 0, forwarded 20, waiting 0, refused 0")
        assert second.process.returncode == 0


@pytest.mark.skipif(STORESCU is None, reason="DCMTK's storescu is not installed")
def test_storescu_through_a_server_and_a_gateway_that_are_killed(tmp_path: Path) -> None:
    """Whoever is told of a failure sends again; nothing is lost and nothing is doubled."""
    study = tmp_path / "study"
    write_study(study, series=2, instances=INSTANCES // 2)
    (tmp_path / "source").mkdir()
    arguments = (tmp_path / "source", "--data-dir", tmp_path / "data", "--allow-store")
    log = tmp_path / "log"

    def storescu(port: int, folder: str) -> subprocess.Popen[bytes]:
        command = [STORESCU or "", "-aec", "GATE", "+sd", "+r", "127.0.0.1", str(port)]
        return subprocess.Popen([*command, str(study / folder)], stderr=subprocess.DEVNULL)

    with serving(*arguments, log=log) as server:
        web_port = urlsplit(server.base_url).port or 0
        with gateway(server.base_url, tmp_path) as running:
            sending = storescu(running.port, "01")
            stored = tmp_path / "source" / "dicom"
            eventually(lambda: len(list(stored.rglob("*.dcm"))) > 10, "some are stored")
            server.end(signal.SIGKILL)
            assert sending.wait(60) == 0
            sending = storescu(running.port, "02")
            eventually(lambda: bool(running.waiting()), "some wait for the server")
            running.end(signal.SIGKILL)
            sending.wait(60)
    with (
        serving_at(web_port, *arguments, log=log) as server,
        gateway(server.base_url, tmp_path) as running,
    ):
        assert storescu(running.port, "02").wait(60) == 0
        running.forwarded()
        assert len(server.instances()) == INSTANCES
    assert len(list(stored.rglob("*.dcm"))) == INSTANCES
    assert list((tmp_path / "spool" / "refused").iterdir()) == []


# An association of which the socket is closed in the middle of a data set.
HALF = """
import sys
from pydicom import dcmread
from pynetdicom import AE, evt
path = sys.argv[2]
meta = dcmread(path, stop_before_pixels=True).file_meta
entity = AE()
entity.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
sent = []
def cut(event):
    sent.append(1)
    if len(sent) == 5:
        import os
        os._exit(3)
association = entity.associate("127.0.0.1", int(sys.argv[1]), evt_handlers=[(evt.EVT_PDU_SENT, cut)])
association.send_c_store(dcmread(path))
"""
