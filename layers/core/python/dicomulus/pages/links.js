// The DICOMweb addresses of a resource, and the curl commands that use them.

import { token, url } from "./archive.js";
import { copyable, h } from "./dom.js";

// As stored: quick, and the very bytes.
export const ZIP = "application/zip;transfer-syntax=*";
const DICOM = "Accept: application/dicom; transfer-syntax=*";
const PARTS = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*';

// `what` is study, series or instance; an instance has the number of the frame shown.
export function linksOf(segments, what, frame = 1) {
  const address = url(segments);
  const curl = (...parts) => ["curl", ...(token() ? ['-H "Authorization: Bearer $TOKEN"'] : []), ...parts].join(" ");
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [
    ["URL", address],
    ["Metadata", curl("--compressed", quoted(`${address}/metadata`))],
  ];
  if (what === "instance") {
    lines.push(
      ["DICOM", curl("-o", "instance.dcm", "-H", quoted(DICOM), quoted(address))],
      ["Image", curl("-o", "image.png", "-H", quoted("Accept: image/png"), quoted(`${address}/frames/${frame}/rendered`))],
    );
  } else {
    lines.push(["ZIP", curl("-o", `${what}.zip`, quoted(`${address}?accept=${ZIP}`))]);
    lines.push(["Instances", curl("-o", `${what}.multipart`, "-H", quoted(PARTS), quoted(address))]);
  }
  return h("div", { class: "links" }, lines.map(([label, text]) => copyable(text, label)));
}
