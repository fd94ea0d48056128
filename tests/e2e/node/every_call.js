// Makes each call that dicomweb-client has, and prints what came of it as JSON:
// node every_call.js BASE_URL FILE... (of one study with two series, the last of another)
import { readFile } from "node:fs/promises";

import { api } from "dicomweb-client";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2.XMLHttpRequest;
console.debug = () => {}; // it tells each thumbnail it asks for

const [url, ...paths] = process.argv.slice(2);
const made = new Set();
const client = new Proxy(new api.DICOMwebClient({ url }), {
  get(target, name) {
    made.add(name);
    return typeof target[name] === "function" ? target[name].bind(target) : target[name];
  },
});

const first = (attributes, tag) => attributes[tag]?.Value?.[0];
// An image comes as the only item of an array.
const kind = ([buffer]) => {
  const bytes = new Uint8Array(buffer);
  return { 0x89: "PNG", 0xff: "JPEG" }[bytes[0]] ?? String(bytes.slice(0, 4));
};
const png = [{ mediaType: "image/png" }];
const jpeg = [{ mediaType: "image/jpeg" }];

client.setDebug(false);
client.setVerbose(client.getVerbose());
client.getDebug();

const datasets = await Promise.all(paths.map(async (path) => (await readFile(path)).buffer));
// One request each, as a page that lets its user drop files does.
for (const dataset of datasets) {
  await client.storeInstances({ datasets: [dataset] });
}
const target = (instance) => ({
  studyInstanceUID: first(instance, "0020000D"),
  seriesInstanceUID: first(instance, "0020000E"),
  sopInstanceUID: first(instance, "00080018"),
});
const stored = await client.searchForInstances();
const byStudy = Object.groupBy
  ? Object.groupBy(stored, (each) => first(each, "0020000D"))
  : stored.reduce((all, each) => {
      (all[first(each, "0020000D")] ??= []).push(each);
      return all;
    }, {});
const groups = Object.values(byStudy).sort((a, b) => b.length - a.length);
const plain = target(groups[0][0]);
const frames = target(groups[1][0]);

const seen = { stored: stored.length };
const { studyInstanceUID, seriesInstanceUID } = plain;
await client.searchForStudies({ queryParams: { limit: 1 } });
await client.searchForSeries({ studyInstanceUID });
seen.metadata = [
  (await client.retrieveStudyMetadata({ studyInstanceUID })).length,
  (await client.retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID })).length,
];
seen.objects = {
  study: (await client.retrieveStudy({ studyInstanceUID })).length,
  series: (await client.retrieveSeries({ studyInstanceUID, seriesInstanceUID })).length,
  instance: (await client.retrieveInstance(plain)).byteLength,
};
const [metadata] = await client.retrieveInstanceMetadata(frames);
const count = Number(first(metadata, "00280008"));
const frameNumbers = Array.from({ length: count }, (_, index) => index + 1);
seen.frames = (await client.retrieveInstanceFrames({ ...frames, frameNumbers })).map(
  (each) => each.byteLength,
);
const { BulkDataURI } = metadata["7FE00010"];
seen.bulkData = (await client.retrieveBulkData({ BulkDataURI })).map((each) => each.byteLength);
const oneFrame = { ...frames, frameNumbers: [2] };
seen.images = {
  rendered: kind(await client.retrieveInstanceRendered({ ...frames, mediaTypes: png })),
  thumbnail: kind(await client.retrieveInstanceThumbnail(frames)),
  frame: kind(await client.retrieveInstanceFramesRendered({ ...oneFrame, mediaTypes: png })),
  small: kind(await client.retrieveInstanceFramesThumbnail({ ...oneFrame, mediaTypes: jpeg })),
};
const wado = await fetch(client.buildInstanceWadoURIUrl(plain));
seen.wado = wado.ok ? (await wado.arrayBuffer()).byteLength : `${wado.status}`;

const has = Object.getOwnPropertyNames(api.DICOMwebClient.prototype);
seen.missing = has.filter((name) => name !== "constructor" && !name.startsWith("_") && !made.has(name));
console.log(JSON.stringify(seen));
