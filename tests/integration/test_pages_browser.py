"""Our own page in Chromium: the study list, series to scroll through, windows, what is no image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.browser import browsing, give_token
from tests.support.browser_page import find_browser
from tests.support.pydicom_corpus import read
from tests.support.rendering import reference_levels
from tests.support.serving import serving
from tests.support.shown_archive import (
    HOSTILE_NAME,
    REPORT,
    SLICES,
    STUDIES,
    Shown,
    broken_content,
    corpus_file,
    frames_content,
    slice_pixels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from tests.support.browser import Tab
    from tests.support.clinic import Clinic
    from tests.support.serving import Served

TOKEN = "0123456789abcdef"
ROWS = "document.querySelectorAll('.studies tbody tr')"
SHOWN = "document.querySelector('#image')?.dataset.shown"


@pytest.fixture(scope="module")
def browser() -> str:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    return browser


@pytest.fixture(scope="module")
def only_tab(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browsing(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(only_tab: Tab) -> Iterator[Tab]:
    """A tab in which nothing may fail: no request, and nothing in the console."""
    only_tab.open("about:blank")
    only_tab.resize(1280, 800)
    only_tab.failures.clear()
    yield only_tab
    assert only_tab.failures == []


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shown, Served]]:
    """The archive that is looked at; it begins empty."""
    folder = tmp_path_factory.mktemp("shown")
    shown = Shown(folder / "source")
    shown.folder.mkdir()
    with serving(shown.folder, "--data-dir", folder / "data", log=folder / "log") as served:
        yield shown, served


@pytest.fixture(scope="module")
def shown(archive: tuple[Shown, Served]) -> Shown:
    return archive[0]


@pytest.fixture(scope="module")
def site(archive: tuple[Shown, Served]) -> str:
    return archive[1].base_url.removesuffix("/dicom-web")


def test_an_empty_archive_says_what_to_do_and_shows_what_comes(
    tab: Tab, shown: Shown, site: str
) -> None:
    tab.open(f"{site}/")
    assert "dicomulus serve" in tab.wait_for("document.querySelector('main pre')?.innerText")
    shown.write()
    tab.wait_for(f"{ROWS}.length === {STUDIES}")
    assert tab.evaluate("document.querySelector('main pre')") is None
    tab.wait_for(f"document.querySelector('#counts').innerText.includes('{SLICES + 4} instances')")
    tab.wait_for(
        f"[...{ROWS}].some(r => r.innerText.includes('Müller') && r.cells[7].innerText === '{SLICES}')"
    )


def test_every_study_is_in_the_list_and_has_a_picture(tab: Tab, served_clinic: Clinic) -> None:
    """Also those without images, and with names in other scripts."""
    studies = {str(read(content).StudyInstanceUID) for content in served_clinic.contents.values()}
    tab.open(served_clinic.base_url.removesuffix("dicom-web"))
    tab.wait_for(f"{ROWS}.length === {len(studies)}")
    text = tab.evaluate("document.querySelector('.studies').innerText")
    for name in "やまだ, たろう", "김희중", "Müller, Prof. Jürgen":
        assert name in text
    loaded = "[...document.querySelectorAll('.thumb img')].filter(e => e.complete)"
    tab.evaluate("document.querySelectorAll('.thumb img').forEach(e => e.loading = 'eager')")
    tab.wait_for(f"{loaded}.length === {len(studies)}")
    assert tab.evaluate(f"{loaded}.filter(e => !e.naturalWidth).length") == 0


def test_the_list_narrows_while_it_is_typed(tab: Tab, shown: Shown, site: str) -> None:
    tab.open(f"{site}/")
    tab.wait_for(f"{ROWS}.length === {STUDIES}")
    tab.click("input[name=name]")
    tab.type("mülL")
    tab.wait_for(f"{ROWS}.length === 1")
    assert "Müller, Jürgen" in tab.evaluate(f"{ROWS}[0].innerText")
    tab.click("button[type=reset]")
    tab.wait_for(f"{ROWS}.length === {STUDIES}")
    tab.click("input[name=description]")
    tab.type("thorax")
    tab.wait_for(f"{ROWS}.length === 3")
    assert tab.evaluate("location.hash") == "#/?description=thorax"


def test_an_address_with_a_search_is_that_search(tab: Tab, shown: Shown, site: str) -> None:
    tab.open(f"{site}/#/?modality=ct&from=2024-02-29&to=2024-02-29&sort=PatientName")
    tab.wait_for(f"{ROWS}.length === {STUDIES - 1}")
    assert tab.evaluate("document.querySelector('input[name=modality]').value") == "ct"
    tab.open(f"{site}/#/?name=nobody")
    tab.wait_for("document.querySelector('.status')?.innerText === 'No study matches'")


def test_names_are_text(tab: Tab, shown: Shown, site: str) -> None:
    """What an archive is given may be meant for whoever looks at it."""
    tab.open(f"{site}/#/?id=P-0002")
    tab.wait_for(f"{ROWS}.length === 1")
    family, _, given = HOSTILE_NAME.partition("^")
    assert f"{family}, {given}" in tab.evaluate(f"{ROWS}[0].innerText")
    tab.click(".studies tbody a")
    tab.wait_for("document.querySelector('.cards a')")
    assert "<script>" in tab.evaluate("document.querySelector('.title').innerText")
    tab.click(".cards a")
    tab.wait_for("document.querySelector('.attributes td')")
    assert tab.evaluate("document.title").startswith("<script>")
    assert tab.evaluate("document.querySelectorAll('main script, main b, main img').length") == 0


def open_series(tab: Tab, site: str, study: str, series: str) -> None:
    tab.open(f"{site}/#/studies/{study}/series/{series}")


def canvas_levels(tab: Tab) -> npt.NDArray[Any]:
    """The red channel of what is on the canvas."""
    levels = tab.evaluate(
        "(() => { const c = document.querySelector('#image');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return [c.height, c.width, ...d.filter((_, i) => i % 4 === 0)]; })()"
    )
    return np.array(levels[2:], float).reshape(levels[:2])


def middle(tab: Tab) -> tuple[float, float]:
    """Where the middle of the image is."""
    x, y = tab.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])"
        "(document.querySelector('.stage').getBoundingClientRect())"
    )
    return x, y


def difference(tab: Tab, expected: npt.NDArray[Any]) -> float:
    levels = canvas_levels(tab)
    assert levels.shape == expected.shape
    return float(np.abs(levels - expected).mean())


def test_a_series_scrolls_by_wheel_keys_and_slider(tab: Tab, shown: Shown, site: str) -> None:
    """Each image is the one that pydicom makes of the file."""
    open_series(tab, site, shown.study, shown.series)
    tab.wait_for(f"{SHOWN} === '1'")
    assert difference(tab, shown.levels(1)) < 1.5
    assert difference(tab, shown.levels(2)) > 3
    x, y = middle(tab)
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=100)
    tab.wait_for(f"{SHOWN} === '2'")
    assert difference(tab, shown.levels(2)) < 1.5
    tab.press("ArrowDown")
    tab.wait_for(f"{SHOWN} === '3'")
    tab.press("End")
    tab.wait_for(f"{SHOWN} === '{SLICES}'")
    assert difference(tab, shown.levels(SLICES)) < 1.5
    tab.evaluate(
        "(s => { s.value = 4; s.dispatchEvent(new Event('input')); })"
        "(document.querySelector('#slider'))"
    )
    tab.wait_for(f"{SHOWN} === '4'")
    assert difference(tab, shown.levels(4)) < 1.5
    assert tab.evaluate("document.querySelector('#where').innerText") == f"4 / {SLICES}"


def set_field(tab: Tab, selector: str, value: str) -> None:
    tab.evaluate(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }})"
        f"(document.querySelector({json.dumps(selector)}))"
    )


def windowed(shown: Shown, number: int, center: float, width: float) -> npt.NDArray[Any]:
    dataset = shown.slices[number - 1]
    values = dataset.pixel_array.astype(float) - 1024
    return 255 * np.clip((values - center + 0.5) / (width - 1) + 0.5, 0, 1)


def test_the_window_is_set_by_fields_presets_and_the_mouse(
    tab: Tab, shown: Shown, site: str
) -> None:
    """PS3.3 §C.11.2.1.2."""
    open_series(tab, site, shown.study, shown.series)
    tab.wait_for(f"{SHOWN} === '1'")
    assert tab.evaluate("[center.value, width.value].map(Number)") == [40, 400]
    set_field(tab, "#width", "200")
    set_field(tab, "#center", "100")
    tab.wait_for("document.querySelector('#how').innerText.startsWith('C 100')")
    wanted = windowed(shown, 1, 100, 200)
    tab.wait_for("document.querySelector('#image').dataset.window === '100,200,linear'")
    assert difference(tab, wanted) < 2
    set_field(tab, "#preset", "500,2500")
    tab.wait_for("document.querySelector('#image').dataset.window === '500,2500,linear'")
    assert difference(tab, windowed(shown, 1, 500, 2500)) < 2
    tab.click("#reset")
    tab.wait_for("document.querySelector('#image').dataset.window === ''")
    assert difference(tab, shown.levels(1)) < 1.5
    x, y = middle(tab)
    tab.mouse("mousePressed", x, y, button="left", clickCount=1)
    tab.mouse("mouseMoved", x + 150, y, button="left", buttons=1)
    tab.mouse("mouseReleased", x + 150, y, button="left", clickCount=1)
    tab.wait_for("document.querySelector('#image').dataset.window === '40,600,linear'")
    assert difference(tab, windowed(shown, 1, 40, 600)) < 2


def test_frames_of_one_instance_scroll_too(tab: Tab, shown: Shown, site: str) -> None:
    dataset = read(frames_content())
    open_series(tab, site, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    tab.wait_for(f"{SHOWN} === '1'")
    assert difference(tab, reference_levels(slice_pixels(1), dataset)) < 1.5
    tab.press("End")
    tab.wait_for(f"{SHOWN} === '{SLICES}'")
    assert difference(tab, reference_levels(slice_pixels(SLICES), dataset)) < 1.5
    assert tab.evaluate("document.querySelector('#number').value") == str(SLICES)


def test_without_a_window_the_mouse_begins_with_the_values_that_there_are(
    tab: Tab, shown: Shown, site: str
) -> None:
    dataset = read(frames_content())
    open_series(tab, site, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    tab.wait_for(f"{SHOWN} === '1'")
    x, y = middle(tab)
    tab.mouse("mousePressed", x, y, button="left", clickCount=1)
    tab.wait_for("performance.getEntriesByType('resource').some(e => /frames.1$/.test(e.name))")
    values = slice_pixels(1).astype(float) - 1024
    center, width = (values.min() + values.max()) / 2, values.max() - values.min()
    for pulled in 30, 60:
        tab.mouse("mouseMoved", x, y + pulled, button="left", buttons=1)
        tab.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
    tab.mouse("mouseReleased", x, y + 60, button="left", clickCount=1)
    wanted = f"{round(center + 60 * width / 300)},{round(width)},linear"
    tab.wait_for(f"document.querySelector('#image').dataset.window === '{wanted}'")


def test_a_report_is_shown_as_what_it_says(tab: Tab, shown: Shown, site: str) -> None:
    dataset = read(corpus_file(REPORT))
    open_series(tab, site, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    text = tab.wait_for("document.querySelector('.report')?.innerText")
    assert text.splitlines()[0] == dataset.ConceptNameCodeSequence[0].CodeMeaning
    assert tab.evaluate("document.querySelector('#image').hidden")


def test_attributes_are_searched(tab: Tab, shown: Shown, site: str) -> None:
    open_series(tab, site, shown.study, shown.series)
    tab.wait_for("document.querySelectorAll('.attributes tr').length > 30")
    tab.click(".attributes input")
    for asked, name, value in (
        ("slice thick", "Slice Thickness", "5"),
        ("00100020", "Patient ID", "P-0001"),
        ("(0008,0060)", "Modality", "CT"),
    ):
        tab.evaluate(
            f"(e => {{ e.value = {json.dumps(asked)}; e.dispatchEvent(new Event('input')); }})"
            "(document.querySelector('.attributes input'))"
        )
        row = tab.wait_for(
            "(rows => rows.length === 1 && rows[0].innerText.startsWith("
            f"{json.dumps(name)}) && rows[0].innerText)"
            "(document.querySelectorAll('.attributes tr'))"
        )
        assert row.rstrip().endswith(value)


def test_addresses_are_those_of_the_service(tab: Tab, shown: Shown, site: str) -> None:
    open_series(tab, site, shown.study, shown.series)
    tab.wait_for("document.querySelectorAll('.links code').length > 5")
    codes = tab.evaluate("[...document.querySelectorAll('.links code')].map(e => e.textContent)")
    series = f"{site}/dicom-web/studies/{shown.study}/series/{shown.series}"
    assert f"{series}/instances/{shown.slices[0].SOPInstanceUID}" in codes
    assert {series, f"{site}/dicom-web/studies/{shown.study}"} <= set(codes)
    assert any(code.startswith("curl ") and series in code for code in codes)
    assert f"curl -o series.zip '{series}?accept=application/zip;transfer-syntax=*'" in codes


def test_who_comes_back_to_the_list_is_where_he_was(tab: Tab, shown: Shown, site: str) -> None:
    tab.resize(1280, 300)
    tab.open(f"{site}/")
    tab.wait_for(f"{ROWS}.length === {STUDIES}")
    tab.evaluate("scrollTo(0, 150)")
    tab.evaluate(f"location.hash = '#/studies/{shown.study}'")
    tab.wait_for("document.querySelector('.cards a')")
    tab.evaluate("history.back()")
    tab.wait_for(f"{ROWS}.length === {STUDIES} && scrollY === 150")


def test_an_address_that_is_no_text_is_told(tab: Tab, site: str) -> None:
    tab.open(f"{site}/#/studies/1.2%E0%A4%A")
    tab.wait_for("document.querySelector('[role=alert]')")


def test_what_is_shown_can_be_saved(tab: Tab, shown: Shown, site: str) -> None:
    open_series(tab, site, shown.study, shown.series)
    tab.wait_for("document.querySelectorAll('a[download][href]').length === 2")
    types = tab.evaluate(
        "Promise.all([...document.querySelectorAll('a[download]')].map("
        "async (a) => (await fetch(a.href)).headers.get('Content-Type').split(';')[0]))"
    )
    assert types == ["application/zip", "application/dicom"]


def test_the_page_fits_a_phone(tab: Tab, shown: Shown, site: str) -> None:
    tab.resize(360, 700, phone=True)
    for hash_, what in (
        ("", f"{ROWS}.length === {STUDIES}"),
        (f"studies/{shown.study}", "document.querySelector('.cards a')"),
        (f"studies/{shown.study}/series/{shown.series}", f"{SHOWN} === '1'"),
    ):
        tab.open(f"{site}/#/{hash_}")
        tab.wait_for(what)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_name_without_an_end_fits_a_phone(tab: Tab, shown: Shown, site: str) -> None:
    tab.resize(360, 700, phone=True)
    tab.open(f"{site}/#/studies/{shown.study}")
    tab.wait_for("document.querySelector('.cards a')")
    for each in (".title h1", ".title p", ".cards strong"):
        tab.evaluate(f"document.querySelector('{each}').textContent = 'A'.repeat(300)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_problem_is_shown_in_its_own_words(
    only_tab: Tab, shown: Shown, site: str, archive: tuple[Shown, Served]
) -> None:
    only_tab.open("about:blank")
    only_tab.open(f"{site}/#/studies/1.2.3")
    text = only_tab.wait_for("document.querySelector('.panel.error')?.innerText")
    assert "no such study" in text
    dataset = read(broken_content())
    open_series(only_tab, site, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    text = only_tab.wait_for("document.querySelector('.instead .error')?.innerText")
    assert text.startswith("The archive answers 406")
    assert "decode" in text


def test_a_token_is_asked_for_where_one_is_needed(
    only_tab: Tab, shown: Shown, tmp_path: Path
) -> None:
    """It goes with every request, those for pictures too, and a wrong one is asked for again."""
    data = tmp_path / "data"
    with serving(
        shown.folder, "--data-dir", data, "--token", TOKEN, log=tmp_path / "log"
    ) as served:
        site = served.base_url.removesuffix("/dicom-web")
        only_tab.open("about:blank")
        only_tab.resize(1280, 800)
        only_tab.open(f"{site}/")
        give_token(only_tab, "another")
        only_tab.wait_for("!document.querySelector('#token-refused').hidden")
        give_token(only_tab, TOKEN)
        only_tab.wait_for(f"{ROWS}.length === {STUDIES}")
        only_tab.wait_for("[...document.querySelectorAll('.thumb img')].every(e => e.naturalWidth)")
        only_tab.failures.clear()
        open_series(only_tab, site, shown.study, shown.series)
        only_tab.wait_for(f"{SHOWN} === '1'")
        assert difference(only_tab, shown.levels(1)) < 1.5
        assert only_tab.failures == []
