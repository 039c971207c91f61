/** The page: two workspaces around one model. */

import { getModel } from "./api.js";
import { find, theme } from "./dom.js";
import { Live } from "./live.js";
import { Review } from "./review.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

/** Show the workspace of a tab; those that are left let go of the camera and stop playing. */
function open(tab, live, review) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    find(`#${one.getAttribute("aria-controls")}`).hidden = one !== tab;
  }
  if (tab.id !== "tab-live") live.leave();
  if (tab.id !== "tab-review") review.leave();
}

function listen(live, review) {
  for (const tab of tabs) {
    tab.onclick = () => open(tab, live, review);
    tab.onkeydown = ({ key }) => {
      const here = tabs.indexOf(tab);
      const [before, after] = [tabs.at(here - 1), tabs[(here + 1) % tabs.length]];
      const next = { ArrowLeft: before, ArrowRight: after, Home: tabs[0], End: tabs.at(-1) }[key];
      if (next) (open(next, live, review), next.focus());
    };
  }
  addEventListener("dragover", (event) => event.preventDefault());
  const mark = (over) => document.body.classList.toggle("over", over);
  addEventListener("dragenter", () => mark(true));
  addEventListener("dragleave", ({ relatedTarget }) => mark(Boolean(relatedTarget)));
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    if (!event.dataTransfer.files.length) return;
    open(find("#tab-review"), live, review);
    review.open([...event.dataTransfer.files]);
  });
}

theme.read();
const local = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(location.hostname);
find("#where").textContent = `${location.host} (${local ? "this computer" : "another computer"})`;
try {
  const model = await getModel();
  find("#about").textContent = `model ${model.name}`;
  listen(new Live(find("#live"), model), new Review(find("#review"), model));
  document.body.classList.add("ready");
} catch (error) {
  find("#about").textContent = `${error.message}; reload the page`;
  find("#about").classList.add("bad");
  throw error;
}
