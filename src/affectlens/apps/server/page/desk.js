/** One cursor through a photo or clip: picture, bars, circumplex, timeline, people, annotations and heat map at it. */

import { inWords, numberOf, seconds, sentence } from "./affect.js";
import { calmly, describer, find, make, theme } from "./dom.js";
import { Heat } from "./heat.js";
import { drawOverlay, faceAt } from "./overlay.js";
import { FacePanel } from "./panel.js";
import { Player } from "./player.js";
import { choices } from "./series.js";
import { Spans } from "./annotations.js";
import { FOLDED, ROW, Timeline } from "./timeline.js";

const OPEN_ROWS = 3;
const MAX_ROWS = 30;

export class Desk {
  /** `onChange()` follows each change of names and annotations; `onProblem(text)` is for the user. */
  constructor(root, model, people, { onChange, onProblem }) {
    Object.assign(this, { root, model, people, onChange, onProblem });
    this.part = (name) => find(name, root);
    [this.overlay, this.slider, this.button] = [".overlay", "[type=range]", "[data-do=play]"].map(this.part);
    const goTo = (time_s) => this.go(this.placeOf(time_s));
    this.player = new Player(this.part(".stage"), {
      onTime: (time_s) => this.follow(time_s),
      onState: () => this.turn(),
    });
    this.panel = new FacePanel(this.part(".face"), model, people, { onPick: (number) => this.pick(number) });
    this.timeline = new Timeline(this.part(".timeline"), model, goTo);
    this.heat = new Heat(this.part(".heat"));
    const now = () => this.time_s;
    this.spans = new Spans(this.part(".spans"), people, { now, onSeek: goTo, onChange: () => this.changed() });
    this.series = choices(this.part(".series"), model, () => this.drawTimeline());
    this.tell = { picture: describer(this.overlay), timeline: describer(this.timeline.canvas) };
    this.drawSoon = calmly(() => this.draw(), 150);
    this.slider.oninput = () => this.go(Number(this.slider.value));
    this.overlay.onclick = ({ offsetX, offsetY }) => {
      const number = faceAt(this.overlay, this.result, offsetX, offsetY);
      if (number !== null) this.pick(number);
    };
    new ResizeObserver(() => this.drawCursor()).observe(this.overlay);
    matchMedia("(max-width: 45rem)").addEventListener("change", () => this.drawTimeline());
    theme.onChange(() => this.draw());
  }

  /** Forget everything. */
  clear() {
    this.player.close();
    this.heat.clear();
    this.people.clear();
    this.spans.fill([]);
    Object.assign(this, { tracks: new Map(), rows: [], frames: [], place: 0, selected: null, file: null, gap_s: 1 });
    this.drawPeople();
  }

  /** Show a file; faces further apart than `gap_s` are not joined in its timeline. */
  open(file, gap_s) {
    Object.assign(this, { file, gap_s });
    this.player.open(file);
    this.draw();
  }

  /** One more picture of it. */
  add(result) {
    const time_s = result.time_s ?? 0;
    this.frames.push({ time_s, result });
    this.root.classList.toggle("photo", result.frame === null);
    result.faces.forEach((face, at) => {
      const number = numberOf(face, at);
      if (!this.tracks.has(number)) {
        this.tracks.set(number, { number, samples: [], open: this.tracks.size < OPEN_ROWS });
        this.selected ??= number;
        if (this.rows.length < MAX_ROWS) this.addRow(this.tracks.get(number));
      }
      this.tracks.get(number).samples.push({ t: time_s, face });
    });
    this.drawSoon();
  }

  get result() {
    return this.frames[this.place]?.result ?? null;
  }

  get time_s() {
    return this.frames[this.place]?.time_s ?? 0;
  }

  /** Place of the last frame that is not after a time. */
  placeOf(time_s) {
    let [low, high] = [0, this.frames.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.frames[middle].time_s <= time_s + 1e-3) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Put the cursor on a frame and show its picture. */
  go(place) {
    this.move(Math.min(Math.max(place, 0), this.frames.length - 1));
    this.player.seek(this.time_s);
  }

  /** A picture of the playing clip; where the analysis has not come, or broke off, playing ends. */
  follow(time_s) {
    const last_s = this.frames.at(-1)?.time_s ?? 0;
    if (time_s <= last_s + this.gap_s) return this.move(this.placeOf(time_s));
    this.go(this.frames.length - 1);
    this.onProblem(`The clip is not analyzed after ${seconds(last_s)}.`);
  }

  move(place) {
    this.place = Math.max(place, 0);
    this.drawCursor();
  }

  pick(number) {
    this.selected = number;
    this.drawCursor();
  }

  /** A key was pressed, outside of anything that takes text; true where it meant something. */
  key({ key, shiftKey }) {
    if (key.length === 1) key = key.toLowerCase();
    if (!this.frames.length) return false;
    const jump = (step) => this.go(shiftKey ? this.placeOf(this.time_s + step) : this.place + step);
    const clip = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => jump(-1),
      ArrowRight: () => jump(1),
      Home: () => this.go(0),
      End: () => this.go(this.frames.length - 1),
      "[": () => this.spans.set("start"),
      "]": () => this.spans.set("end"),
      a: () => this.spans.write(),
    };
    const work = { ...(this.result.frame === null ? {} : clip), h: () => this.explain() }[key];
    work?.();
    return Boolean(work);
  }

  /** Heat map of the selected face in the picture that is shown. */
  async explain() {
    const faces = this.faces();
    const { number, face } = faces.find((one) => one.number === this.selected) ?? faces[0] ?? {};
    if (!face) return this.onProblem("There is no face in this picture.");
    const { file } = this;
    const photo = this.result.frame === null;
    const time_s = photo ? null : this.time_s;
    try {
      this.player.video.pause();
      const picture = photo ? file : await this.player.still();
      if (file !== this.file) return;
      if (!picture) throw new Error("this browser cannot display the picture");
      await this.heat.show(picture, face, this.people.name(number), time_s);
    } catch (error) {
      if (error.name !== "AbortError") this.onProblem(`No heat map: ${error.message}`);
    }
  }

  faces() {
    return (this.result?.faces ?? []).map((face, at) => ({ number: numberOf(face, at), face }));
  }

  changed() {
    this.drawTimeline();
    this.drawCursor();
    this.onChange();
  }

  turn() {
    this.button.textContent = this.player.playing ? "Pause" : "Play";
    this.button.disabled = this.player.refused;
    const hint = this.part(".hint");
    hint.hidden = !this.player.refused;
    hint.textContent = `This browser cannot display ${this.file?.name}. The results are shown below.`;
    this.drawCursor();
  }

  /** Draw everything anew. */
  draw() {
    this.slider.max = Math.max(this.frames.length - 1, 0);
    this.drawTimeline();
    this.drawCursor();
  }

  drawCursor() {
    const { result, time_s } = this;
    drawOverlay(this.overlay, this.model, this.people, result, this.selected);
    const samples = this.tracks.get(this.selected)?.samples ?? [];
    this.panel.show(this.faces(), this.selected, samples.slice(0, upTo(samples, time_s)));
    this.timeline.point(this.frames.length ? time_s : null);
    this.slider.value = this.place;
    this.slider.setAttribute("aria-valuetext", `${seconds(time_s)}, frame ${this.place + 1} of ${this.frames.length}`);
    this.part(".clock").value = `${time_s.toFixed(2)} / ${seconds(this.end_s)}`;
    const words = inWords(result, this.people);
    this.tell.picture(result?.frame === null ? words : `At ${seconds(time_s)}: ${words}`);
    this.tell.timeline(this.timelineInWords());
  }

  /** End of the time that is shown. */
  get end_s() {
    const [first, last] = [this.frames[0], this.frames.at(-1)];
    return Math.max(first?.result.duration_s ?? 0, last?.time_s ?? 0, this.player.duration_s, 0.1);
  }

  timelineInWords() {
    const people = [...this.tracks.values()].map(({ number, samples }) => {
      const here = samples[upTo(samples, this.time_s) - 1];
      const there = `${this.people.name(number)} from ${seconds(samples[0].t)} to ${seconds(samples.at(-1).t)}`;
      return here && this.time_s - here.t <= this.gap_s ? `${there}, ${sentence("now", here.face)}` : there;
    });
    const notes = this.spans.all.map(
      ({ start_s, end_s, text }) => `Annotation from ${seconds(start_s)} to ${seconds(end_s)}: ${text}`,
    );
    const cursor = `cursor at ${seconds(this.time_s)}`;
    return [`Timeline of ${seconds(this.end_s)}, ${cursor}`, ...people, ...notes, ""].join(". ").trim();
  }

  drawTimeline() {
    const { rows } = this;
    const spans = this.spans.all.map((span) => {
      const row = rows.findIndex(({ number }) => number === span.track);
      return { ...span, row: row < 0 ? null : row };
    });
    this.timeline.show({
      rows: rows.map(({ number, samples, open }) => ({ name: this.people.name(number), samples, open })),
      ...{ from_s: 0, to_s: this.end_s, gap_s: this.gap_s, spans, series: this.series },
      named: matchMedia("(max-width: 45rem)").matches,
      mark: (time_s) => `${+time_s.toFixed(1)} s`,
    });
    this.part(".people").classList.toggle("below", Boolean(spans.length));
  }

  /** The list of people beside the timeline: which are unfolded, and their names. */
  drawPeople() {
    this.part(".people").replaceChildren(...this.rows.map((track) => this.row(track)));
    this.nameSpans();
  }

  /** One person more; the others' fields stay, somebody may be typing. */
  addRow(track) {
    this.rows.push(track);
    this.part(".people").append(this.row(track));
    this.nameSpans();
  }

  row(track) {
    const { number } = track;
    const item = make("li");
    const size = () => (item.style.height = `${track.open ? ROW : FOLDED}px`);
    const box = make("input", { type: "checkbox", checked: track.open, ariaLabel: `Expand face ${number}` });
    const name = make("input", { type: "text", maxLength: 60, value: this.people.get(number) ?? "" });
    Object.assign(name, { placeholder: `Face ${number}`, ariaLabel: `Name of face ${number}`, autocomplete: "off" });
    box.onchange = () => (track.open = box.checked, size(), this.drawTimeline());
    name.oninput = () => this.rename(number, name.value.trim());
    size();
    item.append(box, name);
    return item;
  }

  /** All results are there: of very many people, those who were seen most have a row. */
  settle() {
    const hidden = this.tracks.size - this.rows.length;
    if (hidden) {
      const byLength = [...this.tracks.values()].sort((a, b) => b.samples.length - a.samples.length);
      this.rows = byLength.slice(0, MAX_ROWS).sort((a, b) => a.number - b.number);
      this.drawPeople();
    }
    this.part(".more").hidden = !hidden;
    this.part(".more").textContent = `and ${hidden} more people, seen for less time; the CSV has all of them`;
    this.draw();
  }

  nameSpans() {
    const annotated = this.spans.all.map(({ track }) => track).filter((number) => number !== null);
    this.spans.draw([...new Set([...this.rows.map(({ number }) => number), ...annotated])]);
  }

  rename(number, name) {
    this.people.set(number, name);
    this.spans.draw();
    this.changed();
  }
}

/** How many samples are not after a time. */
function upTo(samples, time_s) {
  let [low, high] = [0, samples.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle].t <= time_s + 1e-6) low = middle + 1;
    else high = middle;
  }
  return low;
}
