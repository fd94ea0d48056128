// The study list: what it is searched for, in the order asked for, page by page.

import { search, study, thumbnail, url } from "./archive.js";
import { date, kind, spellingsOf, text, time, value, values } from "./dicom.js";
import { debounced, failure, h, plural } from "./dom.js";

const PAGE = 50;
const MOST_AGAIN = 1000;
const FIELDS = [
  ["name", "Patient name", "search"],
  ["id", "Patient ID", "search"],
  ["accession", "Accession", "search"],
  ["description", "Description", "search"],
  ["modality", "Modality", "search"],
  ["from", "From", "date"],
  ["to", "To", "date"],
];
const ORDERS = [
  ["", "newest first"],
  ["StudyDate,StudyTime", "oldest first"],
  ["PatientName", "by name"],
  ["PatientID", "by patient ID"],
  ["StudyDescription", "by description"],
];
const MODALITIES = ["CT", "MR", "US", "CR", "DX", "MG", "NM", "PT", "XA", "RF", "OT", "SC", "SR", "SEG", "ECG"];

// `shown` studies were seen before, and are shown again.
export async function listView(place, asked, signal, shown = 0) {
  const inputs = new Map(FIELDS.map(([key, label, type]) => [key, input(key, label, type, asked)]));
  const order = h("select", { name: "sort" }, ORDERS.map(([key, label]) => h("option", { value: key }, label)));
  order.value = asked.get("sort") ?? "";
  const clear = h("button", { type: "reset" }, "Clear");
  const form = h(
    "form",
    { class: "filters", role: "search" },
    FIELDS.map(([key, label]) => h("label", {}, label, inputs.get(key))),
    h("label", {}, "Order", order),
    clear,
    h("datalist", { id: "modalities" }, MODALITIES.map((each) => h("option", { value: each }))),
  );
  const status = h("p", { class: "status", role: "status", "aria-live": "polite" });
  const rows = h("tbody");
  const table = h("table", { class: "studies", hidden: true }, head(), rows);
  const more = h("button", { type: "button", class: "more", hidden: true }, "More");
  const trouble = h("div");
  place.append(form, status, table, more, trouble);

  let running = new AbortController();
  let next = null;
  let total = null;
  let etag = null;
  let loading = false;

  const state = () => {
    const found = new URLSearchParams();
    for (const [key, field] of inputs) if (field.value.trim()) found.set(key, field.value.trim());
    if (order.value) found.set("sort", order.value);
    return found;
  };

  async function load(address, { fresh }) {
    if (fresh) running.abort();
    running = new AbortController();
    const { signal: own } = running;
    loading = true;
    more.disabled = true;
    table.setAttribute("aria-busy", "true");
    try {
      const page = await search(address, { signal: own });
      if (own.aborted || signal.aborted) return;
      if (fresh) rows.replaceChildren();
      rows.append(...page.found.map(row));
      next = page.next;
      total = page.total ?? (fresh ? null : total);
      if (fresh) etag = page.etag;
      trouble.replaceChildren();
    } catch (error) {
      if (own.aborted || signal.aborted) return;
      if (fresh) rows.replaceChildren();
      next = null;
      total = null;
      trouble.replaceChildren(failure(error));
    } finally {
      if (!own.aborted) {
        loading = false;
        more.disabled = false;
        table.removeAttribute("aria-busy");
      }
    }
    tell();
  }

  function tell() {
    const shown = rows.children.length;
    const filtered = [...state().keys()].some((key) => key !== "sort");
    table.hidden = !shown;
    more.hidden = !next;
    if (trouble.hasChildNodes()) status.textContent = "";
    else if (shown && next) status.textContent = total ? `${shown} of ${plural(total, "study", "studies")}` : `The first ${shown} studies`;
    else if (shown) status.textContent = plural(shown, "study", "studies");
    else if (next) status.textContent = "Nothing so far; there is more to look through";
    else if (filtered) status.textContent = "No study matches";
    else {
      status.textContent = "";
      trouble.replaceChildren(nothingStored());
    }
    // A page without a match may be followed by others.
    if (next && !shown && !loading) load(next, { fresh: false });
  }

  const start = () => load(address(state()), { fresh: true });
  const changed = () => {
    const text = state().toString();
    history.replaceState(null, "", text ? `#/?${text}` : "#/");
    start();
  };
  form.addEventListener("input", debounced(250, () => !signal.aborted && changed()));
  form.addEventListener("reset", () => setTimeout(changed));
  form.addEventListener("submit", (event) => (event.preventDefault(), changed()));
  more.addEventListener("click", () => load(next, { fresh: false }));
  const nearEnd = new IntersectionObserver(([entry]) => entry.isIntersecting && next && !loading && load(next, { fresh: false }), { rootMargin: "600px" });
  nearEnd.observe(more);
  const focus = (event) => {
    if (event.key === "/" && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      inputs.get("name").focus();
    }
  };
  addEventListener("keydown", focus, { signal });
  signal.addEventListener("abort", () => (running.abort(), nearEnd.disconnect()));

  await start();
  while (next && rows.children.length < Math.min(shown, MOST_AGAIN) && !signal.aborted) await load(next, { fresh: false });
  follow(signal, async () => {
    // Files may still be being indexed, or arrive; who is searching is left alone.
    const wanted = state();
    if (loading || [...wanted.keys()].length || rows.children.length > PAGE || scrollY > 200) return false;
    const page = await search(address(wanted), { signal });
    if (page.etag === etag || loading || state().toString()) return false;
    await start();
    dispatchEvent(new Event("counts"));
    return true;
  });
}

function input(key, label, type, asked) {
  const field = h("input", { name: key, type, autocomplete: "off", spellcheck: "false", value: asked.get(key) ?? "" });
  if (key === "modality") {
    field.setAttribute("list", "modalities");
    field.maxLength = 16;
  }
  return field;
}

// The search that the fields ask for. A part of a text is enough, unless wildcards say otherwise.
export function address(fields) {
  const parameters = {};
  const part = (text) => (/[*?]/.test(text) ? text : `*${text}*`);
  for (const [key, keyword] of [["name", "PatientName"], ["id", "PatientID"], ["accession", "AccessionNumber"]]) {
    if (fields.get(key)) parameters[keyword] = part(fields.get(key));
  }
  if (fields.get("description")) {
    // Descriptions match by case, which nobody knows before.
    const typed = fields.get("description").replaceAll("\\", "?");
    const lower = typed.toLowerCase();
    const spellings = new Set([typed, lower, typed.toUpperCase(), lower.charAt(0).toUpperCase() + lower.slice(1)]);
    parameters.StudyDescription = [...spellings].map(part).join("\\");
    parameters.multiplevaluematching = "true";
  }
  if (fields.get("modality")) parameters.ModalitiesInStudy = fields.get("modality").toUpperCase();
  const [from, to] = ["from", "to"].map((key) => (fields.get(key) ?? "").replaceAll("-", ""));
  if (from || to) parameters.StudyDate = `${from}-${to}`;
  if (fields.get("sort")) parameters.orderby = fields.get("sort");
  return url(["studies"], { ...parameters, limit: PAGE, includefield: "StudyDescription,SOPClassesInStudy" });
}

function head() {
  const names = ["", "Patient", "Date", "Modality", "Description", "Accession", "Series", "Instances"];
  return h("thead", {}, h("tr", {}, names.map((each) => h("th", { scope: "col" }, each))));
}

function row(found) {
  const uid = value(found, "StudyInstanceUID");
  const link = `#/studies/${encodeURIComponent(uid)}`;
  const [name, ...also] = spellingsOf(value(found, "PatientName"));
  const what = [...new Set(values(found, "SOPClassesInStudy").map(kind).filter(Boolean))];
  const description = text(found, "StudyDescription");
  const born = date(value(found, "PatientBirthDate"));
  const facts = [text(found, "PatientID"), text(found, "PatientSex"), born && `born ${born}`];
  const line = h(
    "tr",
    {},
    h("td", { class: "thumb" }, thumbnail(study(uid), "")),
    h("td", { class: "who" }, h("a", { href: link, dir: "auto" }, name || "(no name)"), also.length ? h("span", { class: "also", dir: "auto" }, ` · ${also.join(" · ")}`) : null, h("small", {}, facts.filter(Boolean).join(" · "))),
    h("td", { class: "when" }, date(value(found, "StudyDate")) || "–", h("small", {}, time(value(found, "StudyTime")))),
    h("td", { class: "what" }, values(found, "ModalitiesInStudy").map((each) => h("span", { class: "badge" }, each))),
    h("td", { class: "description", dir: "auto" }, description, what.length ? h("small", {}, what.join(", ")) : null),
    h("td", { class: "accession" }, text(found, "AccessionNumber")),
    h("td", { class: "count", "data-unit": "series" }, text(found, "NumberOfStudyRelatedSeries")),
    h("td", { class: "count", "data-unit": value(found, "NumberOfStudyRelatedInstances") === 1 ? "instance" : "instances" }, text(found, "NumberOfStudyRelatedInstances")),
  );
  line.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !getSelection().toString()) location.hash = link;
  });
  return line;
}

function nothingStored() {
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, "Nothing is stored yet"),
    h("p", {}, "Files that are put into the folder which this server was started with appear here by themselves; if it has just been started, it is still looking through them."),
    h("p", {}, "Another folder is served by"),
    h("pre", {}, "dicomulus serve /path/to/dicom"),
    h("p", {}, "and a server that was started with --allow-store takes files over the network, by"),
    h("pre", {}, `curl -X POST -H 'Content-Type: multipart/related; type="application/dicom"' …\ndicomulus push FILES ${url([])}`),
  );
}

// Looks for changes, the less often the longer there are none.
async function follow(signal, look) {
  for (let seconds = 2; !signal.aborted; seconds = Math.min(seconds * 1.5, 60)) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (document.hidden || signal.aborted) continue;
    // What is wrong with the archive is said when it is used.
    if (await look().catch(() => false)) seconds = 1;
  }
}
