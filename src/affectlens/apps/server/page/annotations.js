/** Annotated spans: a form, and the list of what was written. */

import { seconds } from "./affect.js";
import { find, make } from "./dom.js";

export class Spans {
  /** `now()` is the time of the cursor in seconds; `onChange()` follows each change, `onSeek(time_s)` a choice. */
  constructor(root, people, { now, onChange, onSeek }) {
    Object.assign(this, { root, people, now, onChange, onSeek, all: [], edited: null });
    this.form = find("form", root);
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.keep();
    };
    for (const button of root.querySelectorAll("[data-set]")) button.onclick = () => this.set(button.dataset.set);
    this.form.addEventListener("keydown", ({ key }) => key === "Escape" && this.edited && this.leave());
  }

  /** Start or end the span at the cursor. */
  set(edge) {
    const { start, end } = this.form.elements;
    const now_s = this.now();
    this.form.elements[edge].value = now_s;
    if (Number(start.value) > Number(end.value)) (edge === "start" ? end : start).value = now_s;
  }

  /** Go to the text. */
  write() {
    this.form.elements.text.focus();
  }

  /** Put these spans in the place of all. */
  fill(spans) {
    this.all = spans;
    this.edited = null;
    this.form.reset();
    this.draw([]);
  }

  /** Write the list; `numbers` are those of all people. */
  draw(numbers = this.numbers) {
    this.numbers = numbers;
    const focused = [...this.root.querySelectorAll("ol button")].indexOf(document.activeElement);
    this.all.sort((a, b) => a.start_s - b.start_s);
    const { track } = this.form.elements;
    const chosen = track.value;
    const options = numbers.map((number) => make("option", { value: number, textContent: this.people.name(number) }));
    track.replaceChildren(make("option", { value: "", textContent: "everyone" }), ...options);
    track.value = numbers.some((number) => String(number) === chosen) ? chosen : "";
    find("button:not([type])", this.form).textContent = this.edited ? "Save" : "Add";
    find("ol", this.root).replaceChildren(...this.all.map((span) => this.item(span)));
    if (focused >= 0) this.root.querySelectorAll("ol button")[focused]?.focus();
  }

  item(span) {
    const who = span.track === null ? "" : `${this.people.name(span.track)}: `;
    const when = `${span.start_s.toFixed(2)} – ${seconds(span.end_s)}`;
    const button = (textContent, onclick) =>
      make("button", { textContent, ariaLabel: `${textContent} ${when} ${span.text}`, onclick });
    const go = make("button", { className: "link", textContent: when, onclick: () => this.onSeek(span.start_s) });
    const words = make("span", { textContent: `${who}${span.text}` });
    const item = make("li", {}, go, words);
    item.append(button("Edit", () => this.edit(span)), button("Delete", () => this.remove(span)));
    item.classList.toggle("edited", span === this.edited);
    return item;
  }

  keep() {
    const { start, end, track, text } = this.form.elements;
    const [start_s, end_s] = [Number(start.value), Number(end.value)].sort((a, b) => a - b);
    const span = { start_s, end_s, track: track.value === "" ? null : Number(track.value), text: text.value.trim() };
    if (this.edited) Object.assign(this.edited, span);
    else this.all.push(span);
    this.edited = null;
    text.value = "";
    this.draw();
    this.onChange();
  }

  edit(span) {
    const { start, end, track, text } = this.form.elements;
    this.edited = span;
    this.draw();
    [start.value, end.value, track.value, text.value] = [span.start_s, span.end_s, span.track ?? "", span.text];
    this.write();
  }

  /** Keep a span as it was. */
  leave() {
    this.edited = null;
    this.form.elements.text.value = "";
    this.draw();
  }

  remove(span) {
    this.all = this.all.filter((one) => one !== span);
    if (this.edited === span) this.edited = null;
    this.draw();
    find("[name=text]", this.form).focus();
    this.onChange();
  }
}
