/** Valence (right) and arousal (up) in their circle, with the expressions' places and a trail. */

import { colourOf } from "./overlay.js";
import { sheet, theme } from "./dom.js";

const MARGIN = 16;

/** Draw a trail of {age, valence, arousal}, oldest first, age from 0 (now) to 1 (forgotten); the last is a dot. */
export function drawCircumplex(canvas, model, trail, colour) {
  const { pen, width, height } = sheet(canvas);
  const radius = Math.min(width, height) / 2 - MARGIN;
  if (radius <= 0) return;
  const at = (valence, arousal) => [width / 2 + radius * valence, height / 2 - radius * arousal];
  const axes = drawAxes(pen, width / 2, height / 2, radius);
  const points = Object.entries(model.circumplex).map(([label, [v, a]]) => ({ label, spot: at(v, a) }));
  drawLabels(pen, model, points, width, axes);
  drawTrail(pen, trail.map((one) => ({ age: one.age, spot: at(one.valence, one.arousal) })), colour);
}

/** Circle, axes and their names; gives the places of the names. */
function drawAxes(pen, x, y, radius) {
  Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1, fillStyle: theme.soft });
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.moveTo(x - radius, y);
  pen.lineTo(x + radius, y);
  pen.moveTo(x, y - radius);
  pen.lineTo(x, y + radius);
  pen.stroke();
  pen.textAlign = "center";
  pen.fillText("arousal", x, y - radius - 8);
  pen.textAlign = "right";
  pen.fillText("valence", x + radius - 4, y + 9);
  pen.textAlign = "left";
  return [[x + radius - 50, y + 3, x + radius, y + 15]];
}

function drawLabels(pen, model, points, width, axes) {
  const taken = [...axes, ...points.map(({ spot: [x, y] }) => [x - 4, y - 4, x + 4, y + 4])];
  for (const { label, spot: [x, y] } of points) {
    pen.fillStyle = colourOf(model, label);
    pen.beginPath();
    pen.arc(x, y, 3, 0, 2 * Math.PI);
    pen.fill();
    const wide = pen.measureText(label).width;
    const places = [[x + 6, y], [x - wide - 6, y], [x - wide / 2, y + 11], [x - wide / 2, y - 11]];
    const free = places.find(([left, middle]) => {
      const box = [left, middle - 6, left + wide, middle + 6];
      return left >= 0 && box[2] <= width && !taken.some((other) => overlap(box, other));
    });
    if (!free) continue;
    taken.push([free[0], free[1] - 6, free[0] + wide, free[1] + 6]);
    pen.fillStyle = theme.soft;
    pen.fillText(label, ...free);
  }
}

function drawTrail(pen, trail, colour) {
  Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 2, lineCap: "round" });
  for (let place = 1; place < trail.length; place++) {
    pen.globalAlpha = 0.75 * Math.max(1 - trail[place].age, 0);
    pen.beginPath();
    pen.moveTo(...trail[place - 1].spot);
    pen.lineTo(...trail[place].spot);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  if (!trail.length) return;
  pen.beginPath();
  pen.arc(...trail.at(-1).spot, 6, 0, 2 * Math.PI);
  Object.assign(pen, { fillStyle: colour, strokeStyle: theme.ink });
  pen.fill();
  pen.stroke();
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
