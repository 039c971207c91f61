/** A file from drop to download: its analysis, its names and annotations. */

import { People } from "./affect.js";
import { analyze } from "./api.js";
import { Desk } from "./desk.js";
import { download, find, say } from "./dom.js";
import { fromNotes, toCsv, toNotes } from "./tables.js";

const GAP_S = 0.5;
const MEGABYTE = 2 ** 20;

export class Review {
  constructor(root, model) {
    Object.assign(this, { root, model, people: new People(), dirty: false, waiting: null, file: null });
    this.part = (name) => find(name, root);
    this.status = this.part(".status");
    this.desk = new Desk(root, model, this.people, {
      onChange: () => (this.dirty = true),
      onProblem: (text) => say(this.status, text, true),
    });
    const megabytes = [model.photo_bytes, model.video_bytes].map((bytes) => Math.round(bytes / MEGABYTE));
    this.part(".takes").textContent =
      `Photos up to ${megabytes[0]} MB; clips up to ${megabytes[1]} MB and ${Math.round(model.video_s / 60)} minutes.`;
    this.listen();
    this.reset();
  }

  listen() {
    const input = this.part("[type=file]");
    const work = {
      open: () => input.click(),
      cancel: () => this.asked?.abort(),
      play: () => this.desk.player.toggle(),
      explain: () => this.desk.explain(),
      csv: () => this.save("csv", "text/csv", toCsv(this.file.name, this.results, this.model, this.people)),
      notes: () => this.saveNotes(),
    };
    for (const button of this.root.querySelectorAll("[data-do]")) button.onclick = () => work[button.dataset.do]();
    input.onchange = () => {
      this.open([...input.files]);
      input.value = "";
    };
    addEventListener("beforeunload", (event) => this.dirty && event.preventDefault());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const { target } = event;
    const typing = target.matches("select, textarea, [type=text], [type=number], [name=text], [contenteditable]");
    const pressing = event.key === " " && target.matches("button, summary, [type=checkbox]");
    const own = typing || pressing || target.matches("[role=tab], [type=radio]");
    const bracket = event.altKey && "[]".includes(event.key); // on many keyboards they need Option or AltGr
    if (this.root.hidden || own || event.metaKey || ((event.ctrlKey || event.altKey) && !bracket)) return;
    const moves = target === this.desk.slider && /^(Arrow|Home|End)/.test(event.key);
    if ((moves || this.part("[name=keys]").checked) && this.desk.key(event)) event.preventDefault();
  }

  reset() {
    this.asked?.abort();
    Object.assign(this, { file: null, asked: null, results: [], dirty: false });
    this.desk.clear();
    this.part(".desk").hidden = true;
    this.part(".drop").hidden = false;
    this.part(".working").hidden = true;
    this.allow();
  }

  /** Another workspace is shown. */
  leave() {
    this.desk.player.video.pause();
  }

  allow() {
    for (const name of ["csv", "notes"]) this.part(`[data-do=${name}]`).disabled = !this.desk.frames.length;
  }

  /** Open what was dropped or chosen: a photo or clip, its annotations, or both. */
  async open(files) {
    const notes = files.find(({ name }) => /\.json$/i.test(name));
    const [file, ...others] = files.filter((one) => one !== notes);
    if (notes && !(await this.readNotes(notes))) return;
    if (file) await this.load(file, others.length ? `Only one of ${files.length} files was opened. ` : "");
    else if (this.file && this.waiting) this.applyNotes();
    else if (notes) say(this.status, `Read the annotations of ${this.waiting.source || "a clip"}; now drop the clip.`);
  }

  async load(file, remark) {
    const most = file.type.startsWith("image/") ? this.model.photo_bytes : this.model.video_bytes;
    const fits = file.size <= most;
    if (!fits) say(this.status, `${file.name} is larger than the limit of ${Math.round(most / MEGABYTE)} MB.`, true);
    const lost = () => `The names and annotations of ${this.file.name} have not been downloaded.`;
    if (!fits || (this.dirty && !confirm(`${lost()} Open ${file.name} anyway?`))) {
      this.waiting = null; // it came with this file
      return;
    }
    this.reset();
    this.file = file;
    const asked = (this.asked = new AbortController());
    this.begin(remark);
    try {
      await analyze(file, {
        query: this.query,
        signal: asked.signal,
        onResult: (result) => asked === this.asked && this.take(result),
        onWait: () => say(this.status, `${file.name}: the service is busy; waiting.`),
      });
      if (asked === this.asked) this.finish();
    } catch (error) {
      if (asked === this.asked) this.finish(error.name === "AbortError" ? "cancelled" : error.message);
    }
  }

  begin(remark) {
    const fps = Number(this.part("[name=fps]").value);
    this.query = { baseline: this.part("[name=baseline]").checked, ...(fps ? { fps } : {}) };
    this.began_ms = performance.now();
    this.part(".desk").hidden = false;
    this.part(".drop").hidden = true;
    this.part(".working").hidden = false;
    this.part("progress").removeAttribute("value");
    this.part(".remaining").textContent = "";
    this.remark = remark;
    say(this.status, `${remark}Analyzing ${this.file.name}.`);
    this.desk.open(this.file, fps ? Math.max(GAP_S, 2.5 / fps) : GAP_S);
    if (this.waiting) this.applyNotes();
  }

  /** One more result: of the photo, of a frame, or why there are no more. */
  take(result) {
    this.results.push(result);
    if (!result.width) return;
    this.desk.add(result);
    if (this.desk.frames.length === 1) this.allow();
    if (!result.duration_s) return;
    const [share, took_s] = [result.time_s / result.duration_s, (performance.now() - this.began_ms) / 1000];
    this.part("progress").value = Math.min(share, 1);
    const left_s = Math.max(Math.ceil(took_s / share - took_s), 0);
    this.part(".remaining").textContent = share > 0.02 ? `${left_s} s left` : "";
  }

  finish(problem = "") {
    const { frames, tracks } = this.desk;
    const last = this.results.at(-1);
    const why = problem || (last && !last.width ? last.detail : "");
    if (!frames.length) return this.fail(why || "no frame could be read");
    const held = this.part(".working").contains(document.activeElement);
    this.part(".working").hidden = true;
    if (held) this.part("[data-do=open]").focus();
    this.asked = null;
    const people = tracks.size === 1 ? "1 person" : `${tracks.size || "no"} people`;
    const seen = frames.filter(({ result }) => result.faces.length).length;
    const found = last.frame === null && !why ? people : `${people}, in ${seen} of ${frames.length} frames`;
    say(this.status, `${this.remark}${this.file.name}: ${why ? `${why}; ${found} before that` : found}.`, Boolean(why));
    this.desk.settle();
  }

  fail(why) {
    const { name } = this.file;
    const held = this.part(".working").contains(document.activeElement);
    this.reset();
    this.waiting = null;
    if (held) this.part("[data-do=open]").focus();
    say(this.status, `${name}: ${why}.`, true);
  }

  async readNotes(file) {
    try {
      this.waiting = fromNotes(await file.text());
      return true;
    } catch (error) {
      say(this.status, `${file.name} is not a file of annotations: ${error.message}.`, true);
      return false;
    }
  }

  /** Take over names and spans that were read. */
  applyNotes() {
    const { source, people, spans } = this.waiting;
    this.waiting = null;
    const foreign = source && source !== this.file.name;
    if (foreign && !confirm(`These annotations belong to ${source}. Use them for ${this.file.name}?`)) return;
    if (this.dirty && !confirm("The names and annotations in this tab have not been downloaded. Replace them?")) return;
    this.people.clear();
    people.forEach(([number, name]) => this.people.set(number, name));
    this.desk.spans.fill(spans);
    this.desk.drawPeople();
    this.desk.draw();
    this.dirty = false;
    const from = foreign ? ` from ${source}` : "";
    this.remark = `Loaded ${spans.length} annotations and ${people.length} names${from}. `;
    say(this.status, this.remark.trim());
  }

  saveNotes() {
    this.save("annotations.json", "application/json", toNotes(this.file.name, this.people, this.desk.spans.all));
    this.dirty = false;
  }

  save(suffix, type, text) {
    download(`${this.file.name.replace(/\.[^.]+$/, "")}.${suffix}`, type, text);
  }
}
