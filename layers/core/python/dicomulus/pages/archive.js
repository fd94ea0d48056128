// The archive behind the page: requests by DICOMweb, problems as errors, the token if it asks for one.

import { failure } from "./dom.js";
import { anotherToken, finishSignIn, stayFresh } from "./sign-in.js";

const TOKEN = "dicomulus.token";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let settings;

export async function connect() {
  settings = await (await fetch("config.json")).json();
  if (settings.signIn) {
    await finishSignIn(settings.signIn);
    stayFresh(settings.signIn);
  }
  return settings;
}

export const hasViewer = () => settings.viewer;
export const token = () => sessionStorage.getItem(TOKEN);

// The absolute URL of a resource, from the segments of its path and its parameters.
export function url(segments, parameters = {}) {
  const path = segments.map((segment) => `/${encodeURIComponent(segment)}`).join("");
  const query = Object.entries(parameters).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  const base = new URL(settings.dicomweb + path, location.href).href;
  return query.length ? `${base}?${query.join("&")}` : base;
}

export const study = (uid) => ["studies", uid];
export const series = (study, series) => ["studies", study, "series", series];
export const instance = (study, series, sop) => ["studies", study, "series", series, "instances", sop];

export async function get(address, { accept, signal } = {}) {
  for (;;) {
    const used = token();
    const headers = { Accept: accept };
    if (used) headers.Authorization = `Bearer ${used}`;
    const response = await fetched(address, { headers, signal });
    if (response.status === 401) await askForToken(used);
    else if (!response.ok) throw await problemOf(response);
    else return response;
  }
}

async function fetched(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server cannot be reached. Is it still running?");
  }
}

async function problemOf(response) {
  try {
    const problem = await response.json();
    return new Problem(response.status, problem.detail || problem.title || response.statusText);
  } catch {
    return new Problem(response.status, response.statusText || "It does not say why.");
  }
}

export async function json(address, options = {}) {
  return (await get(address, { accept: "application/dicom+json", ...options })).json();
}

export async function count(resource, signal) {
  const address = url([resource, "count"]);
  return (await (await get(address, { accept: "application/json", signal })).json()).count;
}

// One page of a search: what it found, how many there are if that is known, where it goes on. The
// browser has kept the last answer, so that asking again costs little while nothing has changed.
export async function search(address, options = {}) {
  const response = await get(address, { accept: "application/dicom+json", ...options });
  const total = response.headers.get("X-Total-Count");
  return {
    found: await response.json(),
    total: total === null ? null : Number(total),
    next: nextOf(response.headers.get("Link")),
    etag: response.headers.get("ETag"),
  };
}

function nextOf(link) {
  const match = /<([^>]*)>\s*;\s*rel="?next"?/.exec(link || "");
  if (!match) return null;
  // The link may name this machine otherwise than the address line does.
  const next = new URL(match[1], location.href);
  return new URL(next.pathname + next.search, location.href).href;
}

export async function everything(address, options = {}) {
  const all = [];
  for (let next = address; next; ) {
    const page = await search(next, options);
    all.push(...page.found);
    next = page.next;
  }
  return all;
}

// --- pictures ------------------------------------------------------------------------------------

const PICTURE = "image/jpeg,image/svg+xml;q=0.5";

// A thumbnail that is got when it comes into view; what has no image has an icon.
export function thumbnail(segments, description) {
  const address = url([...segments, "thumbnail"], { accept: PICTURE });
  const image = document.createElement("img");
  image.alt = description;
  image.width = image.height = 96;
  image.loading = "lazy";
  image.decoding = "async";
  image.addEventListener("error", () => image.classList.add("broken"));
  if (!token()) image.src = address;
  else seen.observe(Object.assign(image, { address }));
  return image;
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    get(target.address, { accept: PICTURE })
      .then((response) => response.blob())
      .then((blob) => (target.src = URL.createObjectURL(blob)))
      .catch(() => target.classList.add("broken"));
  }
});

// --- the token -----------------------------------------------------------------------------------

let asking = null;

function askForToken(refused) {
  // Another request may have got a new one meanwhile.
  if (token() !== refused) return Promise.resolve();
  asking ??= (settings.signIn ? signedIn() : typed(refused)).finally(() => (asking = null));
  return asking;
}

async function signedIn() {
  try {
    await anotherToken(settings.signIn);
  } catch (error) {
    throw new Problem(401, error.message);
  }
}

function typed(refused) {
  return new Promise((resolve) => {
    const dialog = document.getElementById("token");
    const field = dialog.querySelector("input");
    dialog.querySelector("#token-refused").hidden = !refused;
    field.value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(TOKEN, field.value.trim());
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
  });
}

// A link that saves or opens a resource; with a token it cannot be a plain one.
export function opener(link, address, { accept, name }) {
  if (!token()) {
    link.href = address;
    return link;
  }
  link.href = "#";
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      await save(address, { accept, name });
    } catch (error) {
      link.after(failure(error));
    }
  });
  return link;
}

async function save(address, { accept, name }) {
  const blob = await (await get(address, { accept })).blob();
  const made = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: made, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(made), 60000);
}
