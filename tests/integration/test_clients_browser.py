"""A page in Chromium that comes from elsewhere and uses the served archive."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser_page import FOREIGN_HOST, find_browser, run_page
from tests.support.clinic import INSTANCES, SERIES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clinic import Clinic

# Each %s is the URL of the generated study.
READ = """
const study = "%s";
const first = (attributes, tag) => attributes[tag].Value[0];
const digest = async (bytes) => Array.from(
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
  (each) => each.toString(16).padStart(2, "0")).join("");
const get = (url, accept, more) => fetch(url, {headers: {Accept: accept, ...more}, cache: "no-store"});

const answer = await get(study + "/metadata", "application/dicom+json");
const etag = answer.headers.get("ETag");
const metadata = await answer.json();
const [instance] = metadata;
const bulkDataURI = instance["7FE00010"].BulkDataURI;
const frames = bulkDataURI.replace("bulkdata/7FE00010", "frames/1");

const again = await get(study + "/metadata", "application/dicom+json", {"If-None-Match": etag});
const bulkData = await get(bulkDataURI, "application/octet-stream; transfer-syntax=*");
const ohif = "multipart/related; type=application/octet-stream; transfer-syntax=*";
// A quotation mark is not safe in a header, so that the browser asks first.
const quoted = 'multipart/related; type="application/octet-stream"; transfer-syntax=*';
const parts = [];
for (const accept of [ohif, quoted]) {
  const response = await get(frames, accept);
  const boundary = response.headers.get("Content-Type").match(/boundary="?([^";]+)/)[1];
  const text = new TextDecoder("latin1").decode(await response.clone().arrayBuffer());
  const begin = text.indexOf("\\r\\n\\r\\n") + 4;
  const end = text.indexOf("\\r\\n--" + boundary, begin);
  parts.push(await digest((await response.arrayBuffer()).slice(begin, end)));
}
const missing = await get(study + ".1/metadata", "application/dicom+json");
return {
  instances: metadata.map((each) => first(each, "00080018")),
  instance: first(instance, "00080018"),
  status: [answer.status, again.status, bulkData.status],
  bulkData: await digest(await bulkData.arrayBuffer()),
  frames: parts,
  missing: (await missing.json()).status,
};
"""

TRY = """
const outcome = async (url) => {
  try {
    return (await fetch(url)).status;
  } catch (error) {
    return error.name;
  }
};
return {outcome: await outcome("%s/metadata")};
"""


@pytest.fixture(scope="module")
def browser() -> str:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    return browser


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_this_machine_reads_metadata_bulk_data_and_frames(
    browser: str, served_clinic: Clinic, tmp_path: Path, host: str
) -> None:
    study = f"{served_clinic.base_url_on(host)}/studies/{served_clinic.generated_study_uid}"
    found: dict[str, Any] = run_page(browser, READ % study, host=host, profile=tmp_path)
    assert "error" not in found
    assert len(set(found["instances"])) == SERIES * INSTANCES
    assert found["status"] == [200, 304, 200]
    [frame] = served_clinic.images[found["instance"]]
    assert found["bulkData"] == sha256(frame).hexdigest()
    assert found["frames"] == [sha256(frame).hexdigest()] * 2
    assert found["missing"] == 404


def test_a_page_of_another_site_reads_nothing(
    browser: str, served_clinic: Clinic, tmp_path: Path
) -> None:
    study = f"{served_clinic.base_url}/studies/{served_clinic.generated_study_uid}"
    found = run_page(browser, TRY % study, host=FOREIGN_HOST, profile=tmp_path)
    assert found == {"outcome": "TypeError"}
