/** Results as the CSV of `affectlens analyze`, and annotations as JSON and back. */

import { numberOf } from "./affect.js";

const LONGEST = 60;
/** Rows of all results with the columns of `model` (see /v1/model), and one more, `name`. */
export function toCsv(source, results, model, people) {
  const header = [...model.columns.map(({ name }) => harmless(name)), "name"];
  const lines = results.flatMap((result) => rows(source, result, model.columns, people));
  return [header, ...lines].map((line) => `${line.map(quoted).join(",")}\n`).join("");
}

function rows(source, result, columns, people) {
  const frame = { ...result, source };
  if (!result.faces.length) return [[...columns.map((column) => cell(column, { frame })), ""]];
  return result.faces.map((face, place) => [
    ...columns.map((column) => cell(column, { frame, face, place })),
    harmless(people.get(numberOf(face, place))),
  ]);
}

/** What the path of a column leads to. */
export const valueOf = ({ path }, subject) => path.reduce((at, part) => at?.[part], subject);

function cell(column, subject) {
  const value = valueOf(column, subject);
  if (typeof value === "string") return harmless(value);
  return column.kind === "real" ? real(value) : value;
}

/** A real number as Python writes it. */
function real(value) {
  if (value === null || value === undefined) return null;
  if (Number.isInteger(value)) return `${Object.is(value, -0) ? "-" : ""}${value}.0`;
  return Math.abs(value) < 1e-4 ? value.toExponential().replace(/e-(\d)$/, "e-0$1") : String(value);
}

/** A text that no spreadsheet takes for a formula, by the rule of `core/csv_lines.py`; others write names and labels. */
const harmless = (text) => (/^'*[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text);

function quoted(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
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
      throw new Error("a span has no start_s, end_s, track or text");
    return { start_s, end_s, track, text: words };
  });
  const names = Object.entries(people).map(([number, name]) => [Number(number), String(name).slice(0, LONGEST)]);
  if (names.some(([number]) => !Number.isInteger(number))) throw new Error("the keys of people must be numbers");
  return { source: String(source), people: names, spans: read };
}
