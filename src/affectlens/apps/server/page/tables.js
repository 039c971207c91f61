/** Results as the CSV of `affectlens analyze`, and annotations as JSON and back. */

import { numberOf } from "./affect.js";

const LONGEST = 60;
const COLUMNS = [
  "source", "frame", "time_s", "face", "track", "x1", "y1", "x2", "y2", "score", "expression", "uncertain",
  "disagreement", "valence", "arousal", "va_source", "quality", "reason", "model",
];

/** Rows of all results, with one more column, `name`. */
export function toCsv(source, results, labels, people) {
  const columns = [...COLUMNS, ...labels.map((label) => `p_${label}`), "name"];
  const found = results.flatMap((result) => rows(source, result, people));
  const lines = found.map((row) => columns.map((column) => cell(row[column])));
  return [columns, ...lines].map((line) => `${line.join(",")}\n`).join("");
}

function rows(source, result, people) {
  const common = { source, frame: result.frame, time_s: real(result.time_s), model: result.model };
  if (!result.faces.length) return [{ ...common, reason: result.reason }];
  return result.faces.map((face, place) => ({
    ...common,
    face: place,
    track: face.track,
    ...Object.fromEntries(["x1", "y1", "x2", "y2"].map((name, at) => [name, real(face.box_xyxy[at])])),
    ...Object.fromEntries(["score", "disagreement", "valence", "arousal"].map((name) => [name, real(face[name])])),
    ...{ expression: face.expression, uncertain: face.uncertain, va_source: face.va_source },
    quality: face.quality && (face.quality.flaws.join("+") || "ok"),
    ...Object.fromEntries(Object.entries(face.probabilities).map(([label, value]) => [`p_${label}`, real(value)])),
    name: harmless(people.get(numberOf(face, place))),
  }));
}

/** A real number as Python writes it. */
function real(value) {
  if (value === null || value === undefined) return null;
  if (Number.isInteger(value)) return `${Object.is(value, -0) ? "-" : ""}${value}.0`;
  return Math.abs(value) < 1e-4 ? value.toExponential().replace(/e-(\d)$/, "e-0$1") : String(value);
}

/** A name that no spreadsheet takes for a formula; names come out of other people's files, too. */
const harmless = (name) => (/^[=+\-@\t\r]/.test(name ?? "") ? `'${name}` : name);

function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Names and spans as JSON. */
export function toNotes(source, people, spans) {
  const named = Object.fromEntries([...people].filter(([, name]) => name));
  return `${JSON.stringify({ source, people: named, spans }, null, 2)}\n`;
}

/** JSON of `toNotes` -> {source, people: [[number, name]], spans}.  Throws where it is something else. */
export function fromNotes(text) {
  const { source = "", people = {}, spans } = JSON.parse(text);
  if (!Array.isArray(spans)) throw new Error("it has no spans");
  const read = spans.map(({ start_s, end_s, track = null, text: words }) => {
    const right = Number.isFinite(start_s) && Number.isFinite(end_s) && start_s >= 0 && start_s <= end_s;
    if (!right || typeof words !== "string" || !(track === null || Number.isInteger(track)))
      throw new Error("a span lacks start_s, end_s, track or text");
    return { start_s, end_s, track, text: words };
  });
  const names = Object.entries(people).map(([number, name]) => [Number(number), String(name).slice(0, LONGEST)]);
  if (names.some(([number]) => !Number.isInteger(number))) throw new Error("people go by numbers");
  return { source: String(source), people: names, spans: read };
}
