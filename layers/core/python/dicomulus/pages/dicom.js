// What attributes say to people: names, dates, kinds of objects.

export const TAG = {
  AccessionNumber: "00080050",
  Columns: "00280011",
  InstanceNumber: "00200013",
  InstitutionName: "00080080",
  ModalitiesInStudy: "00080061",
  Modality: "00080060",
  NumberOfFrames: "00280008",
  NumberOfSeriesRelatedInstances: "00201209",
  NumberOfStudyRelatedInstances: "00201208",
  NumberOfStudyRelatedSeries: "00201206",
  PatientBirthDate: "00100030",
  PatientID: "00100020",
  PatientName: "00100010",
  PatientSex: "00100040",
  PhotometricInterpretation: "00280004",
  PixelSpacing: "00280030",
  ReferringPhysicianName: "00080090",
  Rows: "00280010",
  SOPClassUID: "00080016",
  SOPClassesInStudy: "00080062",
  SOPInstanceUID: "00080018",
  SeriesDescription: "0008103E",
  SeriesInstanceUID: "0020000E",
  SeriesNumber: "00200011",
  StudyDate: "00080020",
  StudyDescription: "00081030",
  StudyID: "00200010",
  StudyInstanceUID: "0020000D",
  StudyTime: "00080030",
  AvailableTransferSyntaxUID: "00083002",
  BodyPartExamined: "00180015",
  Manufacturer: "00080070",
  ProtocolName: "00181030",
  SeriesDate: "00080021",
};

export const values = (dataset, keyword) => dataset?.[TAG[keyword] ?? keyword]?.Value ?? [];
export const value = (dataset, keyword) => values(dataset, keyword)[0] ?? null;

export function text(dataset, keyword) {
  const found = values(dataset, keyword).filter((each) => each !== null);
  return found.map((each) => (typeof each === "object" ? nameOf(each) : String(each))).join(", ");
}

// A name as it is said, the family name, a comma, the others; then in its other spellings.
export const nameOf = (name) => spellingsOf(name).join(" · ");

export function spellingsOf(name) {
  const groups = [name?.Alphabetic, name?.Ideographic, name?.Phonetic].filter(Boolean).map(spelled);
  return [...new Set(groups)].filter(Boolean);
}

function spelled(group) {
  const [family, given, middle, prefix, suffix] = group.split("^").map((part) => part.trim());
  const rest = [prefix, given, middle, suffix].filter(Boolean).join(" ");
  return [family, rest].filter(Boolean).join(", ");
}

export function date(text) {
  const match = /^(\d{4})[.]?(\d{2})[.]?(\d{2})$/.exec(text ?? "");
  return match ? `${match[1]}-${match[2]}-${match[3]}` : (text ?? "");
}

export function time(text) {
  const match = /^(\d{2}):?(\d{2})?/.exec(text ?? "");
  return match ? `${match[1]}:${match[2] ?? "00"}` : (text ?? "");
}

const STORAGE = "1.2.840.10008.5.1.4.1.1.";

// PS3.4 Table B.5-1, the classes that show no image of their own; others by their modality.
const KINDS = {
  "9.1.1": "12-lead ECG",
  "9.1.2": "general ECG",
  "9.1.3": "ambulatory ECG",
  "9.2.1": "hemodynamic waveform",
  "9.3.1": "electrophysiology waveform",
  "9.4.1": "audio",
  "11.1": "presentation state",
  "66": "raw data",
  "66.1": "spatial registration",
  "66.2": "spatial fiducials",
  "66.3": "deformable registration",
  "66.5": "surface segmentation",
  "67": "real world values",
  "77.1.1.1": "video",
  "77.1.2.1": "video",
  "77.1.4.1": "video",
  "88.11": "report",
  "88.22": "report",
  "88.33": "report",
  "88.34": "report",
  "88.40": "procedure log",
  "88.50": "mammography CAD",
  "88.59": "key objects",
  "88.65": "chest CAD",
  "88.67": "dose report",
  "104.1": "PDF document",
  "104.2": "CDA document",
  "104.3": "STL model",
  "104.4": "OBJ model",
  "104.5": "MTL model",
  "481.2": "radiotherapy dose",
  "481.3": "radiotherapy structures",
  "481.4": "radiotherapy treatment record",
  "481.5": "radiotherapy plan",
  "481.8": "radiotherapy ion plan",
};

export function kind(sopClass) {
  return sopClass?.startsWith(STORAGE) ? (KINDS[sopClass.slice(STORAGE.length)] ?? null) : null;
}

export const isVideo = (transferSyntax) =>
  /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/.test(transferSyntax ?? "");
export const isDocument = (sopClass) => sopClass?.startsWith(`${STORAGE}104.`);

const PIXELS = ["7FE00010", "7FE00008", "7FE00009"];
export const hasPixels = (dataset) => PIXELS.some((tag) => tag in dataset);
