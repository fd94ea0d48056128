// One series: its images one after the other, how they are windowed, what they are.

import * as archive from "./archive.js";
import { hasPixels, isDocument, isVideo, kind, nameOf, text, value, values } from "./dicom.js";
import { debounced, failure, h } from "./dom.js";
import { Images } from "./images.js";
import { linksOf } from "./links.js";
import { attributeTable, report } from "./metadata.js";
import { viewerLink, zipLink } from "./study.js";
import { Window } from "./window.js";

const PLAYED_MS = 100;

export async function seriesView(place, { study, series }, signal) {
  const address = archive.url([...archive.series(study, series), "instances"], { includefield: "SeriesDescription,StudyDescription,PatientName,Modality" });
  const instances = await archive.everything(address, { signal });
  if (signal.aborted) return;
  if (!instances.length) throw new archive.Problem(404, "There is no such series here; it may be gone.");
  new Series(place, { study, series, instances, signal });
}

class Series {
  constructor(place, { study, series, instances, signal }) {
    Object.assign(this, { study, series, instances, signal });
    // A position is an image that can be shown: an instance, and of several frames one.
    this.starts = [];
    this.length = 0;
    for (const each of instances) {
      this.starts.push(this.length);
      this.length += Math.max(1, Number(value(each, "NumberOfFrames")) || 1);
    }
    this.position = 0;
    this.metadata = new Map();
    this.build(place);
    this.images = new Images((position) => this.addressOf(position), signal);
    this.window = new Window(this, this.controls);
    this.listen();
    signal.addEventListener("abort", () => (this.pause(), (document.title = "Dicomulus")));
    this.go(0);
  }

  build(place) {
    const [first] = this.instances;
    const name = text(first, "SeriesDescription") || "Series";
    document.title = `${name} – Dicomulus`;
    this.canvas = h("canvas", { id: "image", width: 1, height: 1, tabindex: "0", role: "img", "aria-label": "Image" });
    this.instead = h("div", { class: "instead", hidden: true });
    this.where = h("span", { class: "overlay bottom left", id: "where" });
    this.how = h("span", { class: "overlay bottom right", id: "how" });
    const who = h("span", { class: "overlay top left", dir: "auto" }, nameOf(value(first, "PatientName")), h("br"), text(first, "Modality"), " ", name);
    this.stage = h("div", { class: "stage" }, this.canvas, this.instead, who, this.where, this.how);
    this.slider = h("input", { type: "range", min: 1, max: this.length, value: 1, step: 1, id: "slider", "aria-label": "Image number" });
    this.number = h("input", { type: "number", min: 1, max: this.length, value: 1, id: "number", "aria-label": "Image number" });
    this.play = h("button", { type: "button", "aria-pressed": "false" }, "Play");
    this.controls = h("div", { class: "controls" });
    const scroller = h("div", { class: "scroller", hidden: this.length === 1 }, this.play, this.slider, this.number, h("span", {}, `of ${this.length}`));
    this.links = h("div");
    this.attributes = h("div");
    this.panels = [
      h("details", { class: "panel", open: matchMedia("(min-width: 60rem)").matches }, h("summary", {}, "Attributes"), this.attributes),
      h("details", { class: "panel" }, h("summary", {}, "DICOMweb"), this.links),
    ];
    this.download = h("a", { class: "button", download: "" }, "DICOM");
    const up = `#/studies/${encodeURIComponent(this.study)}`;
    place.classList.add("wide");
    place.append(
      h("nav", { class: "trail", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Studies"), " › ", h("a", { href: up }, "study"), " › series"),
      h("div", { class: "viewer" }, h("div", { class: "show" }, this.stage, scroller, this.controls), h("aside", {}, h("div", { class: "actions" }, viewerLink(this.study), zipLink(archive.series(this.study, this.series)), this.download), this.panels)),
    );
  }

  // --- where we are ------------------------------------------------------------------------------

  indexOf(position) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  get instance() {
    return this.instances[this.indexOf(this.position)];
  }

  get frame() {
    return this.position - this.starts[this.indexOf(this.position)] + 1;
  }

  segmentsOf(instance) {
    return archive.instance(this.study, this.series, value(instance, "SOPInstanceUID"));
  }

  addressOf(position) {
    const index = this.indexOf(position);
    const instance = this.instances[index];
    const frames = Number(value(instance, "NumberOfFrames")) || 1;
    const frame = position - this.starts[index] + 1;
    const segments = [...this.segmentsOf(instance), ...(frames > 1 ? ["frames", String(frame)] : []), "rendered"];
    return archive.url(segments, this.window.parameters());
  }

  go(position, { animate = false } = {}) {
    if (!animate) this.pause();
    const wanted = Math.min(Math.max(position, 0), this.length - 1);
    this.direction = wanted >= this.position ? 1 : -1;
    this.position = wanted;
    this.slider.value = this.number.value = wanted + 1;
    this.tellWhere();
    this.describe();
    return this.show();
  }

  tellWhere() {
    const frames = Number(value(this.instance, "NumberOfFrames")) || 1;
    const image = this.length > 1 ? `${this.position + 1} / ${this.length}` : "";
    const frame = frames > 1 && this.instances.length > 1 ? ` · frame ${this.frame} / ${frames}` : "";
    this.where.textContent = image + frame;
  }

  // --- what is shown -----------------------------------------------------------------------------

  // One image is got at a time, always the one that is wanted by then.
  async show() {
    if (this.showing) return this.showing;
    this.showing = this.showWanted();
    try {
      await this.showing;
    } finally {
      this.showing = null;
    }
  }

  async showWanted() {
    for (let shown = null; ; ) {
      if (this.signal.aborted) return;
      const { position } = this;
      const other = await this.otherThanImage();
      if (other) {
        this.instead.replaceChildren(other);
        this.reveal(this.instead);
        if (position === this.position) return;
        continue;
      }
      const address = this.addressOf(position);
      if (address === shown) return this.images.prefetch(position, this.direction, this.length);
      try {
        const bitmap = await this.images.get(address);
        if (this.signal.aborted) return;
        this.draw(bitmap);
        this.canvas.dataset.window = new URL(address).searchParams.get("window") ?? "";
      } catch (error) {
        if (this.signal.aborted) return;
        this.instead.replaceChildren(failure(error));
        this.reveal(this.instead);
      }
      shown = address;
      if (position === this.position && address === this.addressOf(position) && !this.canvas.hidden) this.canvas.dataset.shown = position + 1;
    }
  }

  draw(bitmap) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    this.reveal(canvas);
  }

  reveal(element) {
    this.canvas.hidden = element !== this.canvas;
    this.instead.hidden = element !== this.instead;
    if (element === this.instead) delete this.canvas.dataset.shown;
  }

  // Gives what stands for an instance that is no image, and nothing for one that is.
  async otherThanImage() {
    const { instance } = this;
    const sopClass = value(instance, "SOPClassUID");
    const segments = this.segmentsOf(instance);
    const syntax = values(instance, "AvailableTransferSyntaxUID")[0];
    if (isVideo(syntax) || isDocument(sopClass)) this.controls.hidden = true;
    if (isVideo(syntax)) return this.video([...segments, "rendered"]);
    if (isDocument(sopClass)) return this.document([...segments, "rendered"], kind(sopClass));
    if (this.images.has(this.position)) return null;
    let dataset;
    try {
      dataset = await this.metadataOf(instance);
    } catch (error) {
      return this.signal.aborted ? null : failure(error);
    }
    this.window.offer(dataset);
    if (hasPixels(dataset)) return null;
    if (dataset["0040A730"]) return report(dataset);
    const what = kind(sopClass) ?? "object without pixels";
    return h("p", {}, `This is no image: ${what}.`, h("br"), "Its attributes tell what it holds.");
  }

  video(segments) {
    const player = h("video", { controls: true, preload: "metadata" });
    if (!archive.token()) player.src = archive.url(segments);
    else archive.get(archive.url(segments), { accept: "*/*", signal: this.signal }).then((response) => response.blob()).then((blob) => (player.src = URL.createObjectURL(blob)), (error) => player.replaceWith(failure(error)));
    return player;
  }

  document(segments, what) {
    const link = h("a", { class: "button main", download: "" }, `Save the ${what}`);
    return h("p", {}, archive.opener(link, archive.url(segments), { accept: "*/*", name: "document" }));
  }

  metadataOf(instance) {
    const uid = value(instance, "SOPInstanceUID");
    if (!this.metadata.has(uid)) {
      const asked = archive.json(archive.url([...this.segmentsOf(instance), "metadata"])).then(([dataset]) => dataset);
      asked.catch(() => this.metadata.delete(uid));
      if (this.metadata.size > 50) this.metadata.delete(this.metadata.keys().next().value);
      this.metadata.set(uid, asked);
    }
    return this.metadata.get(uid);
  }

  // What is told of the instance, once it has been looked at for a moment.
  describe = debounced(200, async () => {
    if (this.signal.aborted) return;
    const { instance } = this;
    const segments = this.segmentsOf(instance);
    this.links.replaceChildren(
      ...[["Instance", segments, "instance"], ["Series", archive.series(this.study, this.series), "series"], ["Study", archive.study(this.study), "study"]].map(([name, where, what]) => h("section", {}, h("h3", {}, name), linksOf(where, what, this.frame))),
    );
    const fresh = h("a", { class: "button", download: `${value(instance, "SOPInstanceUID")}.dcm`, title: "Download this instance" }, "DICOM");
    archive.opener(fresh, archive.url(segments, { accept: "application/dicom;transfer-syntax=*" }), { accept: "application/dicom; transfer-syntax=*", name: fresh.download });
    this.download.replaceWith(fresh);
    this.download = fresh;
    if (!this.panels[0].open || this.described === instance) return;
    try {
      const dataset = await this.metadataOf(instance);
      if (instance !== this.instance) return;
      const kept = this.attributes.querySelector("input")?.value ?? "";
      const table = await attributeTable(dataset);
      const field = table.querySelector("input");
      this.attributes.replaceChildren(table);
      this.described = instance;
      if (kept) {
        field.value = kept;
        field.dispatchEvent(new Event("input"));
      }
    } catch (error) {
      if (!this.signal.aborted) this.attributes.replaceChildren(failure(error));
    }
  });

  // --- what the user does ------------------------------------------------------------------------

  listen() {
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value) - 1));
    this.number.addEventListener("change", () => this.go((Number(this.number.value) || 1) - 1));
    this.play.addEventListener("click", () => this.toggle());
    this.panels[0].addEventListener("toggle", () => this.describe());
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    addEventListener("keydown", (event) => this.key(event), { signal: this.signal });
  }

  wheel(event) {
    if (event.ctrlKey || !this.instead.hidden && this.instead.contains(event.target) && this.instead.querySelector(".report")) return;
    event.preventDefault();
    // A wheel's step is some 100 pixels, those of a touch pad are many small ones.
    this.turned = (this.turned ?? 0) + event.deltaY * (event.deltaMode === 1 ? 40 : 1);
    const steps = Math.trunc(this.turned / 60);
    if (!steps) return;
    this.turned = 0;
    this.go(this.position + Math.sign(steps) * Math.min(Math.abs(steps), 10));
  }

  // The mouse changes the window, a finger goes through the images.
  drag(start) {
    if (start.button || this.canvas.hidden) return;
    this.canvas.focus({ preventScroll: true });
    const { position } = this;
    const finger = start.pointerType === "touch";
    if (!finger) this.window.grasp();
    this.stage.setPointerCapture(start.pointerId);
    const move = (event) => {
      const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
      if (!finger) this.window.pull(x, y);
      else this.go(position + Math.round((y / this.stage.clientHeight) * Math.min(this.length, 60)));
    };
    const end = () => this.stage.removeEventListener("pointermove", move);
    this.stage.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, end, { once: true });
  }

  key(event) {
    if (event.target.matches("input:not([type=range]), select, textarea, video") || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -this.length, End: this.length };
    if (event.key in steps) this.go(this.position + steps[event.key]);
    else if (event.key === " " && event.target.matches("body, canvas, main")) this.toggle();
    else if (event.key === "r") this.window.reset();
    else return;
    event.preventDefault();
  }

  toggle() {
    if (this.playing) this.pause();
    else if (this.length > 1) this.start();
  }

  async start() {
    const run = (this.playing = {});
    this.play.textContent = "Pause";
    this.play.setAttribute("aria-pressed", "true");
    while (this.playing === run && !this.signal.aborted) {
      const tick = new Promise((resolve) => setTimeout(resolve, PLAYED_MS));
      await this.go((this.position + 1) % this.length, { animate: true });
      await tick;
    }
  }

  pause() {
    this.playing = null;
    this.play.textContent = "Play";
    this.play.setAttribute("aria-pressed", "false");
  }

  // Called by the window when it is another one.
  windowed() {
    this.how.textContent = this.window.told();
    this.show();
  }
}
