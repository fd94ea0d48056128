"""What instances say of their series, whatever they say."""

from __future__ import annotations

import pytest

from dicomulus.dicom.place_in_series import expected_instances


@pytest.mark.parametrize(
    ("said", "expected"),
    [("12", 12), (" 12 ", 12), ("0", None), ("-1", None), ("1.5", None), ("9" * 5_000, None)],
)
def test_a_number_that_is_none_says_nothing(said: str, expected: int | None) -> None:
    assert expected_instances({"00181090": {"vr": "IS", "Value": [said]}}) == expected
