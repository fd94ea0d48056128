// Reads studies of an archive as a web application would, and prints what it saw as JSON:
// node read.js BASE_URL STUDY_INSTANCE_UID...
import { createHash } from "node:crypto";

import { api } from "dicomweb-client";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2.XMLHttpRequest;

const STUDY = "0020000D";
const SERIES = "0020000E";
const INSTANCE = "00080018";
const NUMBER_OF_FRAMES = "00280008";
const PIXEL_DATA = "7FE00010";

// As stored, as OHIF asks. Without a transfer syntax it would be Explicit VR Little Endian.
const mediaTypes = [{ mediaType: "application/octet-stream", transferSyntaxUID: "*" }];

const [url, ...wanted] = process.argv.slice(2);
const client = new api.DICOMwebClient({ url });

const first = (attributes, tag) => attributes[tag]?.Value?.[0];
const digest = (bytes) => createHash("sha256").update(new Uint8Array(bytes)).digest("hex");
const byInstance = (found) => Object.fromEntries(found.map((each) => [first(each, INSTANCE), each]));

async function orNone(retrieval) {
  try {
    return await retrieval;
  } catch (error) {
    if (error.status === 404) {
      return [];
    }
    throw error;
  }
}

async function pixels(target, metadata) {
  const { BulkDataURI } = metadata[PIXEL_DATA] ?? {};
  if (!BulkDataURI) {
    return { frames: [], bulkData: [] };
  }
  // Real files have a number of frames that is none.
  const length = Number(first(metadata, NUMBER_OF_FRAMES)) || 1;
  const frameNumbers = Array.from({ length }, (_, index) => index + 1);
  const frames = await orNone(
    client.retrieveInstanceFrames({ ...target, frameNumbers, mediaTypes }),
  );
  const bulkData = await client.retrieveBulkData({ BulkDataURI, mediaTypes });
  return { frames: frames.map(digest), bulkData: bulkData.map(digest) };
}

async function instancesOf(studyInstanceUID, seriesInstanceUID) {
  const target = { studyInstanceUID, seriesInstanceUID };
  const instances = {};
  for (const found of await client.searchForInstances(target)) {
    const sopInstanceUID = first(found, INSTANCE);
    const instance = { ...target, sopInstanceUID };
    const [metadata] = await client.retrieveInstanceMetadata(instance);
    instances[sopInstanceUID] = { metadata, ...(await pixels(instance, metadata)) };
  }
  return instances;
}

const seen = { studies: [], ofStudies: {}, ofSeries: {}, instances: {} };
seen.studies = (await client.searchForStudies()).map((each) => first(each, STUDY));
for (const studyInstanceUID of wanted) {
  const ofStudy = await client.retrieveStudyMetadata({ studyInstanceUID });
  Object.assign(seen.ofStudies, byInstance(ofStudy));
  for (const series of await client.searchForSeries({ studyInstanceUID })) {
    const seriesInstanceUID = first(series, SERIES);
    const target = { studyInstanceUID, seriesInstanceUID };
    Object.assign(seen.ofSeries, byInstance(await client.retrieveSeriesMetadata(target)));
    Object.assign(seen.instances, await instancesOf(studyInstanceUID, seriesInstanceUID));
  }
}
// Searches as an application gives them: the client escapes names and values.
const searches = {
  studiesByName: client.searchForStudies({ queryParams: { PatientName: "山田^*" } }),
  studiesByWord: client.searchForStudies({
    queryParams: { "00100010": "jérôme", fuzzymatching: true, includefield: "00081030,00080060" },
  }),
  seriesByModality: client.searchForSeries({ queryParams: { Modality: "CT,MR" } }),
  instancesOfPage: client.searchForInstances({
    queryParams: { Modality: "CT", orderby: "-SOPInstanceUID", limit: 5, offset: 1 },
  }),
};
seen.searches = Object.fromEntries(
  await Promise.all(Object.entries(searches).map(async ([name, found]) => [name, await found])),
);
console.log(JSON.stringify(seen));
