// The page: which view the address names, and the head that all of them have.

import { connect, count, hasViewer } from "./archive.js";
import { failure, h, plural } from "./dom.js";
import { listView } from "./list.js";

const main = document.getElementById("main");
let leave = () => {};

async function show() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [kind, study, below, series] = path.split("/").map(decodeURIComponent);
  leave();
  const stop = new AbortController();
  leave = () => stop.abort();
  const place = h("div", { class: "view" });
  main.replaceChildren(place);
  scrollTo(0, 0);
  try {
    if (kind === "studies" && study && below === "series" && series) {
      const { seriesView } = await import("./series.js");
      await seriesView(place, { study, series }, stop.signal);
    } else if (kind === "studies" && study) {
      const { studyView } = await import("./study.js");
      await studyView(place, { study }, stop.signal);
    } else {
      await listView(place, new URLSearchParams(query), stop.signal);
    }
  } catch (error) {
    if (!stop.signal.aborted) place.append(failure(error));
  }
}

async function showCounts() {
  const place = document.getElementById("counts");
  const kinds = { patients: "patient", studies: "study", series: "series", instances: "instance" };
  const several = { study: "studies", series: "series" };
  for (const [resource, one] of Object.entries(kinds)) {
    const part = h("span");
    place.append(part);
    try {
      part.textContent = plural(await count(resource), one, several[one]);
    } catch {
      // It is told nowhere else how many there are, and nothing depends on it.
      part.remove();
    }
  }
}

try {
  await connect();
  document.getElementById("viewer").hidden = !hasViewer();
  addEventListener("hashchange", show);
  addEventListener("counts", () => {
    document.getElementById("counts").replaceChildren();
    showCounts();
  });
  await show();
  showCounts();
} catch (error) {
  main.replaceChildren(failure(error));
}
