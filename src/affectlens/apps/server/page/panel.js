/** The selected face: its answer, a bar for each probability, its place in the circumplex; all faces as a table. */

import { measured, percent, shown, signed, withoutUnit, wording } from "./affect.js";
import { drawCircumplex } from "./circumplex.js";
import { calmly, describer, find, make } from "./dom.js";
import { colourOf } from "./overlay.js";
import { valueOf } from "./tables.js";

const TRAIL_S = 4;

export class FacePanel {
  /** `onPick(number)` when another face is chosen; `onName(number, name)`, if given, lets the face be named here. */
  constructor(root, model, people, { onPick, onName }) {
    Object.assign(this, { root, model, people, onPick, selected: null });
    root.append(find("#face").content.cloneNode(true));
    this.bars = new Map(model.labels.map((label) => [label, this.bar(label)]));
    this.measures = model.columns.filter(({ path }) => path[1] === "measures").map((column) => this.measure(column));
    this.circle = find(".circle", root);
    this.describe = describer(this.circle);
    this.tabulate = calmly((faces) => this.fillTable(faces));
    this.naming = find(".naming", root);
    if (onName) find("input", this.naming).oninput = ({ target }) => onName(this.selected, target.value.trim());
    else this.naming.remove();
    this.show([], null, []);
  }

  /** Show the faces [{number, face}], the selected one large; `trail` is its samples [{t, face}] up to now. */
  show(faces, selected, trail) {
    const face = faces.find(({ number }) => number === selected)?.face ?? null;
    this.pick(faces, selected);
    this.answer(face, faces.length);
    for (const [label, { line, fill, figure }] of this.bars) {
      const probability = face ? shown(face).probabilities[label] : 0;
      fill.style.width = `${100 * probability}%`;
      figure.textContent = face ? `${percent(probability)} %` : "";
      line.classList.toggle("top", label === face?.expression);
    }
    for (const { column, figure } of this.measures)
      figure.textContent = face ? measured(valueOf(column, { face: shown(face) }), column) : "";
    this.place(face, face ? trail : []);
    this.tabulate(faces);
  }

  bar(label) {
    const fill = make("span", { className: "fill" });
    fill.style.background = colourOf(this.model, label);
    const figure = make("span", { className: "figure" });
    const rail = make("span", { className: "rail" }, fill);
    const line = make("li", {}, make("span", { textContent: label }), rail, figure);
    find(".bars", this.root).append(line);
    return { line, fill, figure };
  }

  measure(column) {
    const figure = make("dd", {});
    const term = make("dt", { textContent: withoutUnit(column.name), title: column.meaning });
    find(".measures", this.root).append(make("div", {}, term, figure));
    return { column, figure };
  }

  pick(faces, selected) {
    if (selected !== this.selected) find("input", this.naming).value = this.people.get(selected) ?? "";
    this.selected = selected;
    this.naming.hidden = selected === null;
    const picker = find(".picker", this.root);
    const key = JSON.stringify(faces.map(({ number }) => [number, this.people.name(number)]));
    if (key !== this.key) {
      this.key = key;
      this.fillPicker(picker, faces);
    }
    for (const radio of picker.querySelectorAll("input")) radio.checked = Number(radio.value) === selected;
  }

  fillPicker(picker, faces) {
    const focused = picker.contains(document.activeElement) ? document.activeElement.value : null;
    picker.querySelectorAll("label").forEach((label) => label.remove());
    picker.hidden = faces.length < 2;
    const name = `picked-${this.root.closest("[role=tabpanel]").id}`;
    for (const { number } of [...faces].sort((a, b) => a.number - b.number)) {
      const radio = make("input", { type: "radio", name, value: number, onchange: () => this.onPick(number) });
      picker.append(make("label", {}, radio, this.people.name(number)));
      if (String(number) === focused) radio.focus();
    }
  }

  answer(face, count) {
    const [strong, rest] = [find(".answer strong", this.root), find(".answer span", this.root)];
    strong.textContent = face ? wording(face) : count ? "Not in this picture" : "No face";
    const now = face && shown(face);
    const place = () => ` · valence ${signed(now.valence)} · arousal ${signed(now.arousal)}`;
    const known = face && now.valence !== null;
    rest.textContent = face ? `${percent(now.probabilities[face.expression])} %${known ? place() : ""}` : "";
    rest.title = face ? `predicted disagreement of human raters: ${face.disagreement.toFixed(2)}` : "";
  }

  place(face, trail) {
    const known = face && shown(face).valence !== null;
    const now_s = trail.at(-1)?.t ?? 0;
    const recent = known ? trail.filter(({ t }) => now_s - t <= TRAIL_S) : [];
    const points = recent.map(({ t, face: then }) => ({
      age: (now_s - t) / TRAIL_S,
      valence: shown(then).valence,
      arousal: shown(then).arousal,
    }));
    drawCircumplex(this.circle, this.model, points, face ? colourOf(this.model, face.expression) : "");
    const now = known && `Valence ${signed(shown(face).valence)}, arousal ${signed(shown(face).arousal)}`;
    this.describe(known ? `${now}; trail of ${points.length} points.` : "No valence and arousal.");
  }

  fillTable(faces) {
    const rows = faces.map(({ number, face }) => {
      const now = shown(face);
      const cells = [
        wording(face), `${percent(now.probabilities[face.expression])} %`, signed(now.valence), signed(now.arousal),
        face.disagreement.toFixed(2),
      ];
      const head = make("th", { scope: "row", textContent: this.people.name(number) });
      return make("tr", {}, head, ...cells.map((textContent) => make("td", { textContent })));
    });
    find("tbody", this.root).replaceChildren(...rows);
  }
}
