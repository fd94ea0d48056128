// The window of grey levels: what the objects say, presets, fields, and the mouse (PS3.3 §C.11.2).

import { get } from "./archive.js";
import { hasPixels, text, value, values } from "./dicom.js";
import { h } from "./dom.js";

const CT = [
  ["Soft tissue", 50, 400],
  ["Lung", -600, 1500],
  ["Bone", 500, 2500],
  ["Brain", 40, 80],
  ["Liver", 60, 160],
];
const COLOURS = /^(RGB|YBR|PALETTE)/;
// By Pixel Representation and Bits Allocated.
const VALUES = [
  { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array },
  { 8: Int8Array, 16: Int16Array, 32: Int32Array },
];
const FUNCTIONS = { LINEAR_EXACT: "linear-exact", SIGMOID: "sigmoid" };

export class Window {
  constructor(view, place) {
    this.view = view;
    this.set = null;
    this.offered = [];
    this.method = "linear";
    this.center = h("input", { type: "number", step: "any", id: "center", placeholder: "auto" });
    this.width = h("input", { type: "number", step: "any", min: "1", id: "width", placeholder: "auto" });
    this.presets = h("select", { id: "preset", "aria-label": "Window" });
    this.again = h("button", { type: "button", id: "reset", title: "As stored (r)" }, "Reset");
    place.append(h("label", {}, "Window", this.presets), h("label", {}, "Centre", this.center), h("label", {}, "Width", this.width), this.again);
    this.place = place;
    this.place.hidden = true;
    for (const field of [this.center, this.width]) field.addEventListener("change", () => this.typed());
    this.presets.addEventListener("change", () => this.chosen());
    this.again.addEventListener("click", () => this.reset());
  }

  // Takes the windows that the instance on show has itself.
  offer(dataset) {
    this.dataset = dataset;
    const grey = hasPixels(dataset) && !COLOURS.test(text(dataset, "PhotometricInterpretation"));
    this.place.hidden = !grey;
    this.method = FUNCTIONS[value(dataset, "00281056")] ?? "linear";
    const [centers, widths, names] = ["00281050", "00281051", "00281055"].map((tag) => values(dataset, tag));
    const own = centers.map((center, index) => [names[index] || `Stored ${index + 1}`, Number(center), Number(widths[index])]);
    this.offered = own.filter(([, center, width]) => Number.isFinite(center) && width >= 1);
    const more = text(dataset, "Modality") === "CT" ? CT : [];
    const all = [...this.offered, ...more];
    if (JSON.stringify(all) !== this.listed) {
      this.listed = JSON.stringify(all);
      this.presets.replaceChildren(h("option", { value: "" }, "As stored"), ...all.map(([name, ...window]) => h("option", { value: window.join() }, name)), h("option", { value: "own", disabled: true }, "Own"));
    }
    this.fill();
  }

  parameters() {
    if (!this.set) return {};
    const [center, width] = this.set;
    return { window: `${rounded(center)},${rounded(width)},${this.method}` };
  }

  told() {
    return this.set ? `C ${rounded(this.set[0])}  W ${rounded(this.set[1])}` : "";
  }

  change(window) {
    this.set = window;
    this.fill();
    this.view.windowed();
  }

  reset() {
    this.change(null);
  }

  fill() {
    const [center, width] = this.set ?? this.offered[0]?.slice(1) ?? ["", ""];
    if (document.activeElement !== this.center) this.center.value = center === "" ? "" : rounded(center);
    if (document.activeElement !== this.width) this.width.value = width === "" ? "" : rounded(width);
    const named = this.set ? this.set.map(rounded).join() : "";
    this.presets.value = named;
    if (this.presets.value !== named) this.presets.value = "own";
  }

  typed() {
    const [center, width] = [this.center.value, this.width.value].map((text) => (text === "" ? NaN : Number(text)));
    if (Number.isFinite(center) && width >= 1) this.change([center, width]);
  }

  chosen() {
    this.change(this.presets.value ? this.presets.value.split(",").map(Number) : null);
  }

  // --- with the mouse ----------------------------------------------------------------------------

  async grasp() {
    const start = this.set ?? this.offered[0]?.slice(1);
    this.grasped = start ?? null;
    if (!start && !this.place.hidden) this.grasped = await this.range();
  }

  pull(x, y) {
    if (!this.grasped || this.place.hidden || (Math.abs(x) < 2 && Math.abs(y) < 2)) return;
    const [center, width] = this.grasped;
    const step = Math.max(width, 1) / 300;
    this.change([center + y * step, Math.max(1, width + x * step)]);
  }

  // The window of a frame without one: from its smallest value to its largest, as the server has it.
  async range() {
    if (this.ranged?.dataset === this.dataset) return this.ranged.window;
    const window = (await this.measured().catch(() => null)) ?? this.possible();
    this.ranged = { dataset: this.dataset, window };
    return window;
  }

  async measured() {
    const { dataset, view } = this;
    const Values = VALUES[Number(value(dataset, "00280103"))]?.[Number(value(dataset, "00280100"))];
    if (!Values) return null;
    const address = view.addressOf(view.position).replace(/(\/frames\/\d+)?\/rendered.*/, (_, frame) => frame ?? "/frames/1");
    const response = await get(address, { accept: "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1" });
    const bytes = await response.arrayBuffer();
    const pixels = new Values(bytes, 0, Math.floor(bytes.byteLength / Values.BYTES_PER_ELEMENT));
    let [low, high] = [Infinity, -Infinity];
    for (const each of pixels) {
      if (each < low) low = each;
      if (each > high) high = each;
    }
    return Number.isFinite(low) ? this.between(low, high) : null;
  }

  possible() {
    const bits = Number(value(this.dataset, "00280101")) || 8;
    const signed = Number(value(this.dataset, "00280103")) === 1;
    return signed ? this.between(-(2 ** (bits - 1)), 2 ** (bits - 1)) : this.between(0, 2 ** bits);
  }

  between(low, high) {
    const slope = Number(value(this.dataset, "00281053") ?? 1);
    const intercept = Number(value(this.dataset, "00281052") ?? 0);
    return [((low + high) / 2) * slope + intercept, Math.max(1, Math.abs((high - low) * slope))];
  }
}

const rounded = (each) => (Math.abs(each) >= 20 ? Math.round(each) : Math.round(each * 100) / 100);
