/** Faces over time: stacked probabilities, the steady label below them, valence and arousal, spans, a cursor. */

import { inkOn, shown } from "./affect.js";
import { sheet, theme } from "./dom.js";
import { colourOf } from "./overlay.js";

/** Heights in pixels of a row, of one that is folded, of the lane of spans and of the axis. */
export const ROW = 92;
export const FOLDED = 32;
const LANE = 20;
const AXIS = 18;
const [STACK, STRIP, GAP] = [46, 5, 6];
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];

export class Timeline {
  /** `onSeek(time_s)`, if given, is called where the canvas is pressed or dragged. */
  constructor(canvas, model, onSeek) {
    Object.assign(this, { canvas, model, base: document.createElement("canvas"), view: null, cursor_s: null });
    if (onSeek) this.listen(onSeek);
    new ResizeObserver(() => this.view && this.show(this.view)).observe(canvas);
  }

  /**
   * Draw `rows` [{name, samples: [{t, face}], open}] from `from_s` to `to_s`; `series` are the labels to show, and
   * "valence", "arousal"; `spans` [{start_s, end_s, text, row}], row null for all; samples further apart than `gap_s`
   * are not joined; `mark` writes a time on the axis; `named` writes the rows' names.
   */
  show(view) {
    this.view = view;
    const heights = view.rows.map(({ open }) => (open ? ROW : FOLDED));
    this.tops = heights.map((_, row) => LANE * Boolean(view.spans.length) + sum(heights.slice(0, row)));
    this.canvas.style.height = `${LANE * Boolean(view.spans.length) + sum(heights) + AXIS}px`;
    const { pen, width, height } = sheet(this.canvas);
    if (!width) return;
    this.x = (time_s) => ((time_s - view.from_s) / (view.to_s - view.from_s)) * width;
    this.drawAxis(pen, width, height);
    view.rows.forEach((row, place) => this.drawRow(pen, row, this.tops[place], width));
    this.drawSpans(pen, height);
    Object.assign(this.base, { width: this.canvas.width, height: this.canvas.height });
    this.base.getContext("2d").drawImage(this.canvas, 0, 0);
    this.point(this.cursor_s);
  }

  /** Move the cursor; null hides it. */
  point(cursor_s) {
    this.cursor_s = cursor_s;
    if (!this.x || !this.canvas.clientWidth) return;
    const { pen, height } = sheet(this.canvas);
    pen.drawImage(this.base, 0, 0, this.canvas.clientWidth, height);
    if (cursor_s === null) return;
    pen.fillStyle = theme.accent;
    pen.fillRect(this.x(cursor_s) - 1, 0, 2, height - AXIS + 3);
  }

  listen(onSeek) {
    const seek = ({ offsetX }) => {
      if (!this.view) return;
      const { from_s, to_s } = this.view;
      onSeek(Math.min(Math.max(from_s + (offsetX / this.canvas.clientWidth) * (to_s - from_s), from_s), to_s));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && seek(event));
  }

  drawAxis(pen, width, height) {
    const { from_s, to_s, mark } = this.view;
    const step_s = STEPS_S.find((step) => this.x(from_s + step) >= 56) ?? 3600;
    Object.assign(pen, { fillStyle: theme.soft, strokeStyle: theme.line, lineWidth: 1 });
    for (let number = Math.ceil(from_s / step_s - 1e-9); number * step_s <= to_s; number++) {
      const x = Math.round(this.x(number * step_s)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, height - AXIS + 3);
      pen.stroke();
      const text = mark(number * step_s);
      const wide = pen.measureText(text).width;
      pen.fillText(text, Math.min(Math.max(x - wide / 2, 0), width - wide), height - AXIS / 2 + 2);
    }
  }

  drawRow(pen, { name, samples, open }, top, width) {
    const { gap_s, series, named } = this.view;
    const middle = top + STACK + STRIP + GAP + (ROW - STACK - STRIP - 2 * GAP) / 2;
    if (open && (series.has("valence") || series.has("arousal"))) {
      pen.fillStyle = theme.line;
      pen.fillRect(0, middle, width, 1);
    }
    for (const run of runs(samples, gap_s)) {
      const points = this.thinned(run);
      if (open) {
        this.drawStack(pen, points, top + 4);
        this.drawTrace(pen, points, "valence", middle, []);
        this.drawTrace(pen, points, "arousal", middle, [4, 3]);
      }
      this.drawStrip(pen, points, open ? top + STACK + 5 : top + FOLDED / 2 - 3);
    }
    if (named) label(pen, name, top + 11);
  }

  /** At most one sample for each pixel across, with its place. */
  thinned(run) {
    const points = [];
    for (const { t, face } of run) {
      const x = this.x(t);
      if (!points.length || x - points.at(-1).x >= 1 || face.expression !== points.at(-1).face.expression)
        points.push({ x, face });
    }
    if (points.length === 1) points.push({ ...points[0], x: points[0].x + 2 });
    return points;
  }

  drawStack(pen, points, top) {
    let below = points.map(() => 0);
    for (const name of this.model.labels.filter((one) => this.view.series.has(one))) {
      const above = points.map(({ face }, place) => below[place] + shown(face).probabilities[name]);
      const y = (share) => top + STACK * (1 - share);
      pen.fillStyle = colourOf(this.model, name);
      pen.beginPath();
      points.forEach(({ x }, place) => pen.lineTo(x, y(above[place])));
      points.toReversed().forEach(({ x }, place) => pen.lineTo(x, y(below[points.length - 1 - place])));
      pen.fill();
      below = above;
    }
  }

  drawStrip(pen, points, top) {
    const same = (a, b) => a.face.expression === b.face.expression && a.face.uncertain === b.face.uncertain;
    let start = points[0];
    points.forEach((point, place) => {
      if (place < points.length - 1 && same(start, point)) return;
      pen.globalAlpha = start.face.uncertain ? 0.35 : 1;
      pen.fillStyle = colourOf(this.model, start.face.expression);
      pen.fillRect(start.x, top, point.x - start.x, STRIP);
      start = point;
    });
    pen.globalAlpha = 1;
  }

  drawTrace(pen, points, name, middle, dash) {
    const known = points.filter(({ face }) => shown(face)[name] !== null);
    if (!this.view.series.has(name) || !known.length) return;
    const reach = (ROW - STACK - STRIP - 2 * GAP) / 2 - 1;
    Object.assign(pen, { strokeStyle: theme[name], lineWidth: 1.6 });
    pen.setLineDash(dash);
    pen.beginPath();
    known.forEach(({ x, face }) => pen.lineTo(x, middle - reach * shown(face)[name]));
    pen.stroke();
    pen.setLineDash([]);
  }

  drawSpans(pen, height) {
    for (const { start_s, end_s, text, row } of this.view.spans) {
      const [left, right] = [this.x(start_s), Math.max(this.x(end_s), this.x(start_s) + 3)];
      const rows = row === null ? [0, height - AXIS] : [this.tops[row], this.view.rows[row].open ? ROW : FOLDED];
      pen.globalAlpha = 0.14;
      pen.fillStyle = theme.accent;
      pen.fillRect(left, rows[0], right - left, rows[1]);
      pen.globalAlpha = 1;
      pen.save();
      pen.beginPath();
      pen.roundRect(left, 1, right - left, LANE - 4, 4);
      pen.fill();
      pen.clip();
      pen.fillStyle = inkOn(theme.accent);
      pen.fillText(text, left + 5, LANE / 2 - 1);
      pen.restore();
    }
  }
}

/** Samples, cut where a face was away for longer than `gap_s`. */
function runs(samples, gap_s) {
  const found = [];
  samples.forEach((sample, place) => {
    if (!place || sample.t - samples[place - 1].t > gap_s) found.push([]);
    found.at(-1).push(sample);
  });
  return found;
}

function label(pen, name, middle) {
  const wide = pen.measureText(name).width;
  pen.globalAlpha = 0.85;
  pen.fillStyle = theme.card;
  pen.fillRect(2, middle - 8, wide + 8, 16);
  pen.globalAlpha = 1;
  pen.fillStyle = theme.ink;
  pen.fillText(name, 6, middle);
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
