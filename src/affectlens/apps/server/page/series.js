/** What a timeline can show: each label, valence, arousal; with their colours. */

import { make } from "./dom.js";
import { colourOf } from "./overlay.js";

/** Names of all series. */
export function allSeries(model) {
  return [...model.labels, ...(Object.keys(model.circumplex).length ? ["valence", "arousal"] : [])];
}

/** Fill a list with the colours of all series. */
export function legend(list, model) {
  for (const name of allSeries(model)) {
    const mark = make("span", { className: `swatch ${name}` });
    if (model.labels.includes(name)) mark.style.background = colourOf(model, name);
    list.append(make("li", {}, mark, name));
  }
}

/** Fill a fieldset with a checkbox for each series; returns the set of those that are on, and calls `onChange`. */
export function choices(fieldset, model, onChange) {
  const on = new Set(allSeries(model));
  for (const name of on) {
    const box = make("input", { type: "checkbox", checked: true, className: name });
    if (model.labels.includes(name)) box.style.color = colourOf(model, name);
    box.onchange = () => onChange(box.checked ? on.add(name) : on.delete(name));
    fieldset.append(make("label", {}, box, name));
  }
  return on;
}
