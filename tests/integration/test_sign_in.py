"""People sign in at an OpenID provider by the archive's own pages, in Chromium."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.viewer import is_installed
from tests.integration.test_one_origin import BRIGHT
from tests.support.browser import browsing
from tests.support.browser_page import find_browser
from tests.support.issuer import AUDIENCE
from tests.support.serving import serving
from tests.support.shown_archive import STUDIES, Shown
from tests.support.sign_in import CLIENT_ID, providing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Tab
    from tests.support.sign_in import Provider

ALL_SHOWN = f"document.querySelectorAll('.studies tbody tr').length === {STUDIES}"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture(scope="module")
def site(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an archive whose tokens are the provider's."""
    folder = tmp_path_factory.mktemp("archive")
    Shown(folder / "source").write()
    options = ["--oidc-issuer", provider.url, "--oidc-audience", AUDIENCE]
    if is_installed(default_viewer_folder()):
        options += ["--viewer", str(default_viewer_folder())]
    with serving(
        folder / "source",
        "--data-dir",
        folder / "data",
        *options,
        log=folder / "log",
        DICOMULUS_SIGN_IN_CLIENT_ID=CLIENT_ID,
    ) as served:
        yield served.base_url.removesuffix("/dicom-web")


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    with browsing(browser, tmp_path / "profile") as tab:
        yield tab


@contextmanager
def changed(provider: Provider, **values: object) -> Iterator[None]:
    """Have the provider be another for a while."""
    before = {name: getattr(provider, name) for name in values}
    for name, value in values.items():
        setattr(provider, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(provider, name, value)


def test_whoever_has_no_token_signs_in_and_comes_back(
    tab: Tab, site: str, provider: Provider
) -> None:
    """To the very view that was asked for, with nothing of the sign-in in the address."""
    asked = len(provider.requests)
    tab.open(f"{site}/#/?name=Frames*")
    tab.wait_for("document.querySelectorAll('.studies tbody tr').length === 1")
    assert tab.evaluate("location.href") == f"{site}/#/?name=Frames*"
    (request,) = provider.requests[asked:]
    assert request["redirect_uri"] == f"{site}/"
    assert request["scope"] == "openid dicomweb.read"
    assert request["audience"] == AUDIENCE
    assert len(request["state"]) > 40


def test_the_viewer_opened_by_itself_has_people_sign_in(
    tab: Tab, site: str, tmp_path: Path, provider: Provider
) -> None:
    if not is_installed(default_viewer_folder()):
        pytest.skip("no viewer that `make viewer` has put there")
    study = Shown(tmp_path).study
    with changed(provider, token_seconds=8):
        grants = len(provider.grants)
        tab.open(f"{site}/viewer/viewer?StudyInstanceUIDs={study}")
        tab.wait_for(BRIGHT)
        assert tab.evaluate("location.pathname") == "/viewer/viewer"
        # While it is open, the token is renewed before it ends.
        first = tab.evaluate("sessionStorage.getItem('dicomulus.token')")
        tab.wait_for(f"sessionStorage.getItem('dicomulus.token') !== '{first}'")
    assert provider.grants[grants : grants + 2] == ["authorization_code", "refresh_token"]


def test_a_token_that_ends_is_renewed_without_leaving_the_page(
    tab: Tab, site: str, provider: Provider
) -> None:
    tab.open(f"{site}/")
    tab.wait_for(ALL_SHOWN)
    asked = len(provider.requests)
    tab.evaluate("sessionStorage.setItem('dicomulus.token', 'over')")
    tab.evaluate("sessionStorage.setItem('dicomulus.given', Date.now() - 60000)")
    tab.evaluate("location.hash = '#/?name=Frames*'")
    tab.wait_for("document.querySelectorAll('.studies tbody tr').length === 1")
    assert len(provider.requests) == asked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audience": "https://another.example"}, "does not take the token"),
        ({"is_refusing": True}, "Not today."),
    ],
)
def test_who_is_not_let_in_is_told_so_and_not_sent_round(
    tab: Tab, site: str, provider: Provider, change: dict[str, object], said: str
) -> None:
    asked = len(provider.requests)
    with changed(provider, **change):
        tab.open(f"{site}/")
        tab.wait_for(f"document.body.innerText.includes({said!r})")
    assert len(provider.requests) - asked == 1


def test_an_answer_that_nobody_has_asked_for_is_no_sign_in(
    tab: Tab, site: str, provider: Provider
) -> None:
    """A link with somebody else's code would have one look at another's archive."""
    foreign = provider.authorize(
        "redirect_uri=x&state=s&code_challenge=c&code_challenge_method=S256"
    )
    grants = len(provider.grants)
    tab.open(f"{site}/?{foreign.partition('?')[2]}")
    tab.wait_for(ALL_SHOWN)
    # Its own sign-in, and no other.
    assert provider.grants[grants:] == ["authorization_code"]
    assert tab.evaluate("location.search") == ""
