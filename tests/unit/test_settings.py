"""Settings come back from the environment as they went into it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import ConfigurationError
from dicomulus.settings import PREFIX, MetadataModeName, Settings

plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), max_size=20)
listed = st.lists(
    st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1
    ),
    max_size=3,
).map(tuple)
RANGES = {
    "port": (0, 65_535),
    "search_shards": (1, 64),
    "compact_delay_seconds": (0, 900),
    "stable_age_seconds": (0, 900),
    "jobs": (0, 1_000),
}
SPECIAL = {
    "store_policy": st.sampled_from(("keep", "replace")),
    "unknown_parameters": st.sampled_from(("refuse", "ignore")),
    "studies_metadata": st.sampled_from(get_args(MetadataModeName)),
    "series_metadata": st.sampled_from(get_args(MetadataModeName)),
    "base_path": st.sampled_from(("/dicom-web", "/a/b")),
    "trusted_proxies": st.sampled_from(((), ("10.0.0.0/8", "fe80::1"))),
    "allowed_origins": st.sampled_from(
        ((), ("https://viewer.example:8443", "http://[::1]"), ("*",))
    ),
    "sign_in_origins": st.sampled_from(((), ("https://tokens.example",))),
    "data_folder": plain.map(lambda name: f"/data/{name}"),
    "orthanc_path": st.sampled_from(("", "/", "/orthanc/api")),
    "source_folder": plain.map(lambda name: f"/scans/{name}"),
    "public_base_url": st.sampled_from(("", "https://pacs.example/dicom-web")),
    "webhook_url": st.sampled_from(("", "https://hooks.example/a?b=c", "http://[::1]:8080")),
}


def value_of(name: str, default: object) -> st.SearchStrategy[Any]:
    if name in SPECIAL:
        return SPECIAL[name]
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(*RANGES.get(name, (1, 2**63)))
    return listed if isinstance(default, tuple) else plain


settings = st.fixed_dictionaries(
    {},
    optional={f.name: value_of(f.name, f.default) for f in fields(Settings) if f.name != "extra"},
).map(lambda values: Settings(**values))


@given(made=settings)
def test_settings_come_back_from_the_environment(made: Settings) -> None:
    assert Settings.from_env(made.to_env()) == made


def test_what_is_not_set_keeps_its_default() -> None:
    assert Settings.from_env({"HOME": "/nowhere"}) == Settings()
    assert Settings().to_env() == {}


def test_variables_nobody_takes_are_told() -> None:
    read = Settings.from_env({f"{PREFIX}PROT": "80", f"{PREFIX}PORT": "80"})
    assert (read.port, dict(read.extra)) == (80, {f"{PREFIX}PROT": "80"})


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_a_flag_is_switched_on_by_any_usual_word(text: str) -> None:
    assert Settings.from_env({f"{PREFIX}ALLOW_STORE": text}).allow_store


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "eighty"),
        ("PORT", ""),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("ALLOW_STORE", "perhaps"),
        ("SEARCH_SHARDS", "0"),
        ("SEARCH_SHARDS", "65"),
        ("COMPACT_DELAY_SECONDS", "901"),
        ("JOBS", "-1"),
        ("STORE_POLICY", "sometimes"),
        ("MAX_BASES", "0"),
        ("MAX_RESULTS", "-5"),
        ("PREFIX_BYTES", "0"),
        ("BASE_PATH", "dicom-web"),
        ("BASE_PATH", "/dicom-web/"),
        ("ORTHANC_PATH", "orthanc"),
        ("ORTHANC_PATH", "/orthanc/"),
        ("ORTHANC_PATH", "/dicom-web"),
        ("ORTHANC_PATH", "/dicom-web/orthanc"),
        ("ORTHANC_PATH", "/viewer"),
        ("ORTHANC_PATH", "/pages/orthanc"),
        ("PUBLIC_BASE_URL", "ftp://pacs.example"),
        ("PUBLIC_BASE_URL", "https://pacs.example/"),
        ("PUBLIC_BASE_URL", 'https://pacs.example/"quoted"'),
        ("PUBLIC_BASE_URL", "https://pacs.example/ü"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "10.0.0.1,10.0.0.0/33"),
        ("ALLOWED_ORIGINS", "viewer.example"),
        ("ALLOWED_ORIGINS", "https://viewer.example/"),
        ("ALLOWED_ORIGINS", "*,https://Viewer.example"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=name.lower()):
        Settings.from_env({PREFIX + name: text})


def test_the_source_is_no_data_folder() -> None:
    with pytest.raises(ConfigurationError, match="data_folder: /scans is the source itself"):
        Settings(source_folder="/scans", data_folder="/scans")


@pytest.mark.parametrize(
    "url", ["hooks.example/a", "ftp://hooks.example", "https://me@hooks.example/", "https://a/#b"]
)
def test_a_webhook_is_a_url_of_http(url: str) -> None:
    with pytest.raises(ConfigurationError, match="webhook_url"):
        Settings(webhook_url=url)
