/** Boxes, names and the highest probabilities, drawn over a picture. */

import { inkOn, numberOf, percent, shown, wording } from "./affect.js";
import { sheet } from "./dom.js";

const LINE = 15;
const PANEL = { width: 132, height: 3 * LINE + 9 };
const CHIP = 19;

/** Draw the faces of a result over the picture that lies, as large as it fits, under the canvas. */
export function drawOverlay(canvas, model, people, result, selected) {
  const { pen, width, height } = sheet(canvas);
  if (!result?.width) return;
  const boxes = result.faces.map((face) => onCanvas(face.box_xyxy, canvas, result));
  const taken = [...boxes];
  result.faces.forEach((face, place) => {
    const number = numberOf(face, place);
    drawBox(pen, boxes[place], colourOf(model, face.expression), number === selected, face.uncertain);
    const text = `${people.name(number)} · ${wording(face)} ${percent(shown(face).probabilities[face.expression])} %`;
    taken.push(drawChip(pen, text, boxes[place], colourOf(model, face.expression), width, taken.slice(boxes.length)));
  });
  result.faces.forEach((face, place) => {
    const panel = free(boxes[place], width, height, taken);
    if (!panel) return;
    taken.push(panel);
    drawPanel(pen, panel, model, shown(face).probabilities);
  });
}

/** Number of the face at a point of the canvas in CSS pixels, the smallest where several are; null for none. */
export function faceAt(canvas, result, x, y) {
  if (!result?.width) return null;
  const hits = result.faces
    .map((face, place) => ({ number: numberOf(face, place), box: onCanvas(face.box_xyxy, canvas, result) }))
    .filter(({ box }) => x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height)
    .sort((a, b) => a.box.width - b.box.width);
  return hits.length ? hits[0].number : null;
}

/** The colour of a label. */
export const colourOf = (model, label) => model.colours[label] ?? "#5a5a5a";

function onCanvas([x1, y1, x2, y2], canvas, result) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = Math.min(width / result.width, height / result.height);
  const [left, top] = [(width - result.width * scale) / 2, (height - result.height * scale) / 2];
  return { x: left + x1 * scale, y: top + y1 * scale, width: (x2 - x1) * scale, height: (y2 - y1) * scale };
}

function drawBox(pen, { x, y, width, height }, colour, selected, uncertain) {
  const stroke = (style, line) => {
    Object.assign(pen, { strokeStyle: style, lineWidth: line });
    pen.beginPath();
    pen.roundRect(x, y, width, height, 6);
    pen.stroke();
  };
  stroke("rgb(0 0 0 / 45%)", selected ? 5 : 3.5);
  pen.setLineDash(uncertain ? [6, 4] : []);
  stroke(colour, selected ? 3 : 1.75);
  pen.setLineDash([]);
}

/** The label: above the box, else below or inside it, where no other label is. */
function drawChip(pen, text, box, colour, width, chips) {
  pen.font = pen.font.replace(/^.*?px/, "600 12px");
  const size = { width: pen.measureText(text).width + 14, height: CHIP };
  const x = Math.max(Math.min(box.x, width - size.width), 0);
  const places = [box.y - CHIP - 3, box.y + box.height + 3, box.y + 4].map((y) => ({ x, y, ...size }));
  const spot = places.find((place) => place.y >= 0 && !chips.some((other) => overlap(place, other)));
  const chip = spot ?? { ...places[2], y: Math.max(box.y + 4, 0) };
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(chip.x, chip.y, chip.width, chip.height, 5);
  pen.fill();
  pen.fillStyle = inkOn(colour);
  pen.fillText(text, chip.x + 7, chip.y + CHIP / 2 + 0.5);
  return chip;
}

function free(box, width, height, taken) {
  const top = Math.min(Math.max(box.y, 0), height - PANEL.height);
  const places = [
    { x: box.x + box.width + 8, y: top },
    { x: box.x - PANEL.width - 8, y: top },
    { x: box.x, y: box.y + box.height + 8 },
  ].map((place) => ({ ...place, ...PANEL }));
  const inside = ({ x, y }) => x >= 4 && y >= 0 && x + PANEL.width <= width - 4 && y + PANEL.height <= height;
  return places.find((place) => inside(place) && !taken.some((other) => overlap(place, other)));
}

function drawPanel(pen, { x, y, width, height }, model, probabilities) {
  pen.fillStyle = "rgb(14 16 19 / 78%)";
  pen.beginPath();
  pen.roundRect(x, y, width, height, 6);
  pen.fill();
  pen.font = pen.font.replace(/^.*?px/, "11px");
  const ranked = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, 3);
  ranked.forEach(([label, probability], line) => {
    const middle = y + 4.5 + (line + 0.5) * LINE;
    pen.fillStyle = "#f2f4f6";
    pen.fillText(label, x + 8, middle);
    pen.fillStyle = colourOf(model, label);
    pen.fillRect(x + 76, middle - 4, Math.max((width - 84) * probability, 1), 8);
  });
}

const overlap = (a, b) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
