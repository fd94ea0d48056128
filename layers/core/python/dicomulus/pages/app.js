// The page: which view the address names, and the head that all of them have.

import { connect, count, hasViewer } from "./archive.js";
import { failure, h, plural } from "./dom.js";
import { listView } from "./list.js";

const main = document.getElementById("main");
let leave = () => {};

// Where the list was left, for who comes back to it.
let isList = false;
let left = { list: null };
const listOf = (url) => new URL(url).hash || "#/";

async function show({ oldURL } = {}) {
  if (isList && oldURL) left = { list: listOf(oldURL), scroll: scrollY, rows: main.querySelectorAll(".studies tbody tr").length };
  isList = false;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  leave();
  const stop = new AbortController();
  leave = () => stop.abort();
  const place = h("div", { class: "view" });
  main.replaceChildren(place);
  scrollTo(0, 0);
  try {
    // Throws where the address is no text.
    const [kind, study, below, series] = path.split("/").map(decodeURIComponent);
    if (kind === "viewer") {
      await count("studies");
      location.replace(`./viewer${decodeURIComponent(query)}`);
    } else if (kind === "studies" && study && below === "series" && series) {
      const { seriesView } = await import("./series.js");
      await seriesView(place, { study, series }, stop.signal);
    } else if (kind === "studies" && study) {
      const { studyView } = await import("./study.js");
      await studyView(place, { study }, stop.signal);
    } else {
      isList = true;
      const again = left.list === listOf(location.href) ? left : { scroll: 0, rows: 0 };
      await listView(place, new URLSearchParams(query), stop.signal, again.rows);
      if (!stop.signal.aborted && !scrollY) scrollTo(0, again.scroll);
    }
  } catch (error) {
    if (!stop.signal.aborted) place.append(failure(error));
  }
}

// Studies are counted at a glance; the others by going through all of them.
const COUNTED_UNASKED = 5000;

async function showCounts() {
  const place = document.getElementById("counts");
  const studies = await count("studies");
  place.replaceChildren(h("span", {}, plural(studies, "study", "studies")));
  if (studies <= COUNTED_UNASKED) return countRest(place);
  const more = h("button", { type: "button", class: "small" }, "Count patients, series, instances");
  more.addEventListener("click", () => (more.remove(), countRest(place)));
  place.append(more);
}

async function countRest(place) {
  const parts = [["patients", "patient"], ["series", "series", "series"], ["instances", "instance"]];
  const spans = parts.map(() => h("span", {}, "…"));
  place.prepend(spans[0]);
  place.append(...spans.slice(1));
  for (const [index, [resource, ...names]] of parts.entries()) {
    spans[index].textContent = plural(await count(resource), ...names);
  }
}

// Nothing depends on the counts, and the list says what is wrong with the archive.
const recount = () => showCounts().catch(() => document.getElementById("counts").replaceChildren());

try {
  await connect();
  document.getElementById("viewer").hidden = !hasViewer();
  addEventListener("hashchange", show);
  addEventListener("counts", recount);
  await show();
  await recount();
} catch (error) {
  main.replaceChildren(failure(error));
}
