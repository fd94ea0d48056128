"""Write ``dicom/data_dictionary.txt`` from the dictionary that pydicom carries.

Run as ``python -m tests.tools.make_dictionary`` after an update of pydicom.
"""

from __future__ import annotations

from pydicom import _dicom_dict

from dicomulus.dicom.dictionary import DICTIONARY_PATH


def dictionary_text() -> str:
    """Give the text as it should be: entries in order of their tags, "-" for no keyword."""
    rows = {f"{tag:08X}": entry for tag, entry in _dicom_dict.DicomDictionary.items()}
    rows |= _dicom_dict.RepeatersDictionary
    # Items and delimiters (FFFE) are syntax, not elements: their VR is "NONE".
    return "".join(
        f"{tag} {vr.replace(' or ', '/')} {keyword or '-'}\n"
        for tag, (vr, _, _, _, keyword) in sorted(rows.items())
        if vr != "NONE"
    )


if __name__ == "__main__":
    DICTIONARY_PATH.write_text(dictionary_text(), encoding="ascii", newline="\n")
