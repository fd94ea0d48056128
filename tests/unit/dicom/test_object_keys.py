"""Canonical keys of instances, compressed or not, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.resource import (
    InstanceResource,
    canonical_key,
    compressed_key,
    instance_of_key,
    is_compressed_key,
    is_key_of,
    other_form,
)

uids = st.text(min_size=1, max_size=12)
instances = st.builds(InstanceResource, uids, uids, uids)


@given(instance=instances)
def test_both_keys_of_an_instance_name_it(instance: InstanceResource) -> None:
    plain, compressed = canonical_key(instance), compressed_key(instance)
    assert instance_of_key(plain) == instance_of_key(compressed) == instance
    assert (is_compressed_key(plain), is_compressed_key(compressed)) == (False, True)
    assert is_key_of(plain, instance)
    assert is_key_of(compressed, instance)
    assert other_form(plain) == compressed
    assert other_form(compressed) == plain


@given(instance=instances, other=instances)
def test_no_key_is_that_of_two_instances(
    instance: InstanceResource, other: InstanceResource
) -> None:
    if instance != other:
        keys = {canonical_key(instance), compressed_key(instance)}
        assert not keys & {canonical_key(other), compressed_key(other)}
        assert not is_key_of(compressed_key(other), instance)


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".gz",
        ".dcm.gz",
        "1.dcm.gz",
        "dicom/1/2.dcm.gz",
        "dicom/1/2/3.gz",
        "dicom/1/2/3.dcm.gz.gz",
        "dicom/1/2/3.DCM.GZ",
        "dicom/1/2/./3.dcm.gz",
        "dicom/1//3.dcm.gz",
        "Dicom/1/2/3.dcm.gz",
        "scans/1/2/3.dcm.gz",
        "dicom/%31/2/3.dcm.gz",
    ],
)
def test_other_keys_are_nobodys(key: str) -> None:
    assert instance_of_key(key) is None
    assert other_form(key) is None
    assert not is_compressed_key(key)
