// The attributes of an instance as a table that can be searched, and reports as text.

import { nameOf } from "./dicom.js";
import { debounced, h } from "./dom.js";

const MOST_ROWS = 2000;
const MOST_CHARACTERS = 300;

let dictionary;

// Keywords by tag; x stands for the digits that a repeating group leaves open.
async function keywords() {
  dictionary ??= fetch("pages/dictionary.txt")
    .then((response) => response.text())
    .then((text) => new Map(text.split("\n").map((line) => [line.slice(0, 8), line.split(" ")[2]])));
  return dictionary;
}

export async function attributeTable(dataset) {
  const names = await keywords();
  const all = [...rowsOf(dataset, names, 0)];
  const field = h("input", { type: "search", placeholder: "Search tags, names, values", "aria-label": "Search the attributes" });
  const body = h("tbody");
  const note = h("p", { class: "quiet", role: "status" });
  const fill = () => {
    const asked = field.value.trim().toLowerCase();
    const found = asked ? all.filter((row) => row.searched.includes(asked)) : all;
    body.replaceChildren(...found.slice(0, MOST_ROWS).map(line));
    const left = found.length - MOST_ROWS;
    note.textContent = left > 0 ? `${left} more; search to see fewer` : `${found.length} of ${all.length} elements`;
  };
  field.addEventListener("input", debounced(120, fill));
  fill();
  return h("div", { class: "attributes" }, field, note, h("table", {}, body));
}

function* rowsOf(dataset, names, depth) {
  for (const [tag, element] of Object.entries(dataset)) {
    const name = nameOfTag(tag, names);
    const items = element.vr === "SQ" ? (element.Value ?? []) : [];
    const shown = element.vr === "SQ" ? `${items.length} item${items.length === 1 ? "" : "s"}` : valueText(element);
    const written = `(${tag.slice(0, 4)},${tag.slice(4)})`;
    const searched = `${tag} ${written} ${name} ${element.vr} ${shown}`.toLowerCase();
    yield { depth, written, name, vr: element.vr, shown, searched };
    for (const [index, item] of items.entries()) {
      if (items.length > 1) yield { depth: depth + 1, written: "", name: `item ${index + 1}`, vr: "", shown: "", searched: "" };
      yield* rowsOf(item ?? {}, names, depth + 1);
    }
  }
}

function nameOfTag(tag, names) {
  const found = names.get(tag) ?? names.get(`${tag.slice(0, 2)}xx${tag.slice(4)}`);
  if (found && found !== "-") return found.replaceAll(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, " ");
  return parseInt(tag[3], 16) % 2 ? "private" : "unknown";
}

function valueText(element) {
  if (element.BulkDataURI) return "bulk data";
  if (element.InlineBinary) return `${Math.floor((element.InlineBinary.length * 3) / 4)} bytes`;
  return (element.Value ?? []).map((each) => (each === null ? "" : typeof each === "object" ? nameOf(each) : String(each))).join(" \\ ");
}

function line({ depth, written, name, vr, shown }) {
  const cut = shown.length > MOST_CHARACTERS;
  const cell = h("td", { dir: "auto", title: cut ? shown.slice(0, 4000) : null }, cut ? `${shown.slice(0, MOST_CHARACTERS)}…` : shown);
  const first = h("th", { scope: "row", class: `depth${Math.min(depth, 4)}` }, name, h("small", {}, [written, vr].filter(Boolean).join(" ")));
  return h("tr", {}, first, cell);
}

// --- reports (PS3.3 §C.17.3) ---------------------------------------------------------------------

const first = (dataset, tag) => dataset?.[tag]?.Value?.[0] ?? null;
const meaning = (code) => first(code, "00080104") ?? first(code, "00080100") ?? "";

export function report(dataset) {
  const heading = meaning(first(dataset, "0040A043")) || "Report";
  return h("article", { class: "report" }, h("h2", { dir: "auto" }, heading), contents(dataset));
}

function contents(item) {
  const items = item?.["0040A730"]?.Value ?? [];
  if (!items.length) return null;
  return h("ul", {}, items.filter(Boolean).map((each) => h("li", { dir: "auto" }, said(each), contents(each))));
}

function said(item) {
  const name = meaning(first(item, "0040A043"));
  const found = contentText(item);
  return [name ? h("strong", {}, found ? `${name}: ` : name) : null, found];
}

function contentText(item) {
  const measured = first(item, "0040A300");
  if (measured) return [first(measured, "0040A30A"), meaning(first(measured, "004008EA"))].filter((each) => each !== null).join(" ");
  const code = first(item, "0040A168");
  if (code) return meaning(code);
  const name = first(item, "0040A123");
  if (name) return nameOf(name);
  for (const tag of ["0040A160", "0040A120", "0040A121", "0040A122", "0040A124"]) {
    if (first(item, tag) !== null) return String(first(item, tag));
  }
  const referenced = first(item, "00081199");
  return referenced ? `→ ${first(referenced, "00081155") ?? ""}` : "";
}
