"""Documents of the Native DICOM Model are read as they are written, and hostile ones do no harm."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pytest

from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.xml_reading import read_native_xml
from dicomulus.errors import RejectedObjectError

TOLD: dict[str, dict[str, Any]] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00090010": {"vr": "LO", "Value": ["ACME & <Söhne>"]},
    "00091001": {"vr": "OB", "InlineBinary": "AAE="},
    "00100010": {
        "vr": "PN",
        "Value": [{"Alphabetic": "Doe^Jane^^Dr", "Phonetic": "x"}, None, {"Ideographic": "山田"}],
    },
    "00104000": {"vr": "LT", "Value": [" two\r\nlines\t--> "]},
    "00280010": {"vr": "US", "Value": ["16", "17"]},
    "0040A730": {
        "vr": "SQ",
        "Value": [
            {"00080100": {"vr": "SH", "Value": ["a", None, "c"]}},
            {},
            {"00080102": {"vr": "SH"}},
        ],
    },
    "7FE00010": {"vr": "OW", "BulkDataURI": "http://a/b?c=d&e"},
}
DOCUMENT = native_xml(TOLD)
PIECES = (
    b"<Item>",
    b"</Item>",
    b'<Value number="2">',
    b"</Value>",
    b"<PersonName>",
    b"<Alphabetic><FamilyName>",
    b'<DicomAttribute tag="00100020" vr="LO" privateCreator="X">',
    b"</DicomAttribute>",
    b'number="0"',
    b"&lt;",
    b"&amp",
    b"<!DOCTYPE a>",
    b"<![CDATA[x]]>",
    b"<?pi?>",
    b"\xff\xfe",
    b"\0",
)


def test_what_is_written_is_read() -> None:
    assert read_native_xml(DOCUMENT) == TOLD


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_encoding_is_that_of_the_document(encoding: str) -> None:
    text = DOCUMENT.decode().replace('encoding="UTF-8"', "")
    assert read_native_xml(text.encode(encoding)) == TOLD


def test_prefixes_of_names_are_not_looked_at() -> None:
    text = DOCUMENT.decode().replace("<", "<n:").replace("<n:/", "</n:").replace("<n:?", "<?")
    assert read_native_xml(text.replace("xmlns=", "xmlns:n=").encode()) == TOLD


@pytest.mark.parametrize("seed", range(6))
def test_a_broken_document_is_read_or_refused(seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        broken = bytearray(DOCUMENT)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(broken))
            match random.randrange(3):
                case 0:
                    del broken[at : at + random.randint(1, 40)]
                case 1:
                    broken[at:at] = random.choice(PIECES)
                case _:
                    begin = random.randrange(len(broken))
                    broken[at:at] = broken[begin : begin + random.randint(1, 120)]
        with contextlib.suppress(RejectedObjectError):
            read_native_xml(bytes(broken))


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;',
    ],
)
def test_entities_are_refused_before_they_are_known(entities: str) -> None:
    document = f"<!DOCTYPE x [{entities}]><NativeDicomModel>&b;</NativeDicomModel>"
    with pytest.raises(RejectedObjectError, match="document type"):
        read_native_xml(document.encode())


def test_a_group_has_room_for_so_many_creators() -> None:
    element = '<DicomAttribute tag="00090001" vr="LO" privateCreator="C{}"/>'
    room = "".join(element.format(number) for number in range(240))
    document = "<NativeDicomModel>{}</NativeDicomModel>"
    assert len(read_native_xml(document.format(room).encode())) == 480
    with pytest.raises(RejectedObjectError, match="no room"):
        read_native_xml(document.format(room + element.format(240)).encode())
