/** What is said of a face, in words. */

/** What is to be shown of a face: smoothed in time where it was. */
export const shown = (face) => face.smoothed ?? face;

/** Whole per cent, rounded down: nothing is 100 % sure. */
export const percent = (probability) => Math.floor(100 * probability);

/** The expression, or that it is uncertain and which it might be. */
export const wording = (face) => (face.uncertain ? `uncertain (${face.expression}?)` : face.expression);

/** Number of a face: of its person in a clip, in a photo its place. */
export const numberOf = (face, place) => face.track ?? place;

/** A valence or arousal with its sign. */
export const signed = (value) => (value === null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);

/** The name of a column without the unit at its end. */
export const withoutUnit = (name) => name.replace(/_(deg|px|mm|s)$/, "").replaceAll("_", " ");

/** A cell of a measure, with its unit where that is one and not a range. */
export function measured(value, { unit, digits }) {
  if (value === null || value === undefined) return "–";
  const text = typeof value === "number" ? value.toFixed(Math.min(digits, 2)).replace("-", "−") : String(value);
  const behind = { deg: "°", "": "" };
  return unit.includes(" ") ? text : `${text}${behind[unit] ?? ` ${unit}`}`;
}

/** Seconds, to the hundredth. */
export const seconds = (time_s) => `${time_s.toFixed(2)} s`;

/** One sentence on a face. */
export function sentence(name, face) {
  const now = shown(face);
  const place = now.valence === null ? "" : `, valence ${signed(now.valence)}, arousal ${signed(now.arousal)}`;
  return `${name}: ${wording(face)} ${percent(now.probabilities[face.expression])} %${place}`;
}

/** All faces of a result in words. */
export function inWords(result, people) {
  if (!result?.faces.length) return "No face.";
  return `${result.faces.map((face, place) => sentence(people.name(numberOf(face, place)), face)).join(". ")}.`;
}

/** What people are called: names by number of face. */
export class People extends Map {
  name(number) {
    return this.get(number) || `Face ${number}`;
  }
}

/** Dark or light text, whichever is easier to read on a colour #rrggbb. */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
