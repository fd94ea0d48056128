// One study: what it is, and its series.

import * as archive from "./archive.js";
import { date, nameOf, text, time, value, values } from "./dicom.js";
import { h, plural } from "./dom.js";
import { linksOf, ZIP } from "./links.js";

const SERIES_FIELDS = "SeriesDate,BodyPartExamined,ProtocolName,Manufacturer";

export async function studyView(place, { study }, signal) {
  const [found, series] = await Promise.all([
    archive.search(archive.url(["studies"], { StudyInstanceUID: study, includefield: "StudyDescription,InstitutionName" }), { signal }),
    archive.everything(archive.url([...archive.study(study), "series"], { includefield: SERIES_FIELDS }), { signal }),
  ]);
  if (signal.aborted) return;
  const [attributes] = found.found;
  if (!attributes) throw new archive.Problem(404, "There is no such study here; it may be gone.");
  document.title = `${nameOf(value(attributes, "PatientName")) || study} – Dicomulus`;
  signal.addEventListener("abort", () => (document.title = "Dicomulus"));
  place.append(
    h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Studies"), " › study"),
    title(attributes),
    h("div", { class: "actions" }, actions(study)),
    h("h2", {}, plural(series.length, "series", "series")),
    h("ul", { class: "cards" }, series.map((each) => card(study, each))),
    h("details", { class: "panel" }, h("summary", {}, "DICOMweb"), linksOf(archive.study(study), "study")),
  );
}

export function title(attributes) {
  const born = date(value(attributes, "PatientBirthDate"));
  const patient = [text(attributes, "PatientID"), text(attributes, "PatientSex"), born && `born ${born}`];
  const when = [date(value(attributes, "StudyDate")), time(value(attributes, "StudyTime"))].filter(Boolean).join(" ");
  const what = [text(attributes, "StudyDescription"), when, text(attributes, "AccessionNumber"), text(attributes, "InstitutionName")];
  const name = nameOf(value(attributes, "PatientName"));
  return h(
    "header",
    { class: "title" },
    h("h1", { dir: "auto" }, name || "(no name)"),
    h("p", {}, patient.filter(Boolean).join(" · ")),
    h("p", { dir: "auto" }, what.filter(Boolean).join(" · ")),
  );
}

export function viewerLink(study) {
  if (!archive.hasViewer()) return h("a", { href: "viewer", class: "quiet" }, "Get the OHIF viewer");
  return h("a", { href: `viewer/viewer?StudyInstanceUIDs=${encodeURIComponent(study)}`, class: "button main", id: "ohif" }, "Open in OHIF");
}

export function zipLink(segments) {
  const link = h("a", { class: "button", download: "" }, "Download ZIP");
  return archive.opener(link, archive.url(segments, { accept: ZIP }), { accept: ZIP, name: `${segments.at(-1)}.zip` });
}

function actions(study) {
  return [viewerLink(study), zipLink(archive.study(study))];
}

function card(study, found) {
  const uid = value(found, "SeriesInstanceUID");
  const count = value(found, "NumberOfSeriesRelatedInstances");
  const number = value(found, "SeriesNumber");
  const name = text(found, "SeriesDescription") || text(found, "ProtocolName") || "(no description)";
  const facts = [date(value(found, "SeriesDate")), text(found, "BodyPartExamined"), text(found, "Manufacturer")];
  return h(
    "li",
    {},
    h(
      "a",
      { href: `#/studies/${encodeURIComponent(study)}/series/${encodeURIComponent(uid)}` },
      archive.thumbnail(archive.series(study, uid), ""),
      h(
        "span",
        { class: "text" },
        h("strong", { dir: "auto" }, name),
        h("span", {}, values(found, "Modality").map((each) => h("span", { class: "badge" }, each)), " ", number === null ? "" : `no. ${number}`, count === null ? "" : ` · ${plural(count, "instance")}`),
        h("small", {}, facts.filter(Boolean).join(" · ")),
      ),
    ),
  );
}
