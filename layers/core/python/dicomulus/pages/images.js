// Rendered images, kept while there is room, and got before they are wanted.

import { get } from "./archive.js";

const MOST_PIXELS = 48_000_000;
const AHEAD = 6;
const AT_ONCE = 3;

export class Images {
  constructor(addressOf, signal) {
    this.addressOf = addressOf;
    this.signal = signal;
    this.kept = new Map();
    this.pixels = 0;
    this.wanted = [];
    this.running = 0;
    signal.addEventListener("abort", () => this.forget());
  }

  has(position) {
    return this.kept.get(this.addressOf(position))?.bitmap !== undefined;
  }

  async get(address) {
    let entry = this.kept.get(address);
    if (!entry) {
      entry = { coming: this.fetch(address) };
      this.kept.set(address, entry);
      entry.coming.catch(() => this.kept.delete(address));
    } else {
      // The order of the map is that of use.
      this.kept.delete(address);
      this.kept.set(address, entry);
    }
    const bitmap = await entry.coming;
    if (!entry.bitmap) {
      entry.bitmap = bitmap;
      this.pixels += bitmap.width * bitmap.height;
      this.makeRoom(address);
    }
    return bitmap;
  }

  async fetch(address) {
    const response = await get(address, { accept: "image/jpeg, image/png;q=0.5", signal: this.signal });
    return createImageBitmap(await response.blob());
  }

  makeRoom(latest) {
    for (const [address, { bitmap }] of this.kept) {
      if (this.pixels <= MOST_PIXELS) return;
      if (!bitmap || address === latest) continue;
      this.kept.delete(address);
      this.pixels -= bitmap.width * bitmap.height;
      // It is not closed: it may be about to be drawn.
    }
  }

  prefetch(position, direction, length) {
    const near = [...Array(AHEAD).keys()].map((step) => position + direction * (step + 1));
    this.wanted = [...near, position - direction].filter((each) => each >= 0 && each < length);
    this.pump();
  }

  pump() {
    while (this.running < AT_ONCE && this.wanted.length && !this.signal.aborted) {
      const address = this.addressOf(this.wanted.shift());
      if (this.kept.has(address)) continue;
      this.running += 1;
      this.get(address)
        .catch(() => {})
        .finally(() => {
          this.running -= 1;
          this.pump();
        });
    }
  }

  forget() {
    this.kept.clear();
    this.pixels = 0;
    this.wanted = [];
  }
}
