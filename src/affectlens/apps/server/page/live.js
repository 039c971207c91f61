/** The camera: its pictures to the service, and the answers over them as they come. */

import { inWords, numberOf, People, percent, sentence } from "./affect.js";
import { Stream } from "./api.js";
import { calmly, describer, find, make, onPicture, say, theme } from "./dom.js";
import { drawOverlay, faceAt } from "./overlay.js";
import { FacePanel } from "./panel.js";
import { allSeries, legend } from "./series.js";
import { Timeline } from "./timeline.js";

const HISTORY_S = 30;
const AWAY_S = 2;
const RATE_S = 2;
const SIDE_PX = 640;
const BUSY_MS = 250;
const REFUSED = "Camera access was denied. Allow it in the browser’s settings for this page, then start again.";
const WHY = {
  NotAllowedError: REFUSED,
  SecurityError: REFUSED,
  NotFoundError: "No camera was found.",
  OverconstrainedError: "This camera is no longer available. Choose another one.",
  NotReadableError: "Cannot read from the camera; another program may be using it.",
};

export class Live {
  constructor(root, model) {
    Object.assign(this, { root, model, people: new People(), run: null, camera: null, stream: null });
    const parts = (...names) => names.map((name) => find(name, root));
    [this.video, this.overlay, this.status, this.hint] = parts("video", ".overlay", ".status", ".hint");
    [this.button, this.choice, this.baseline] = parts("button", "select", "[name=baseline]");
    this.panel = new FacePanel(find(".face", root), model, this.people, {
      onPick: (number) => this.pick(number),
      onName: (number, name) => (this.people.set(number, name), this.draw()),
    });
    this.timeline = new Timeline(find(".recent", root), model);
    this.canvas = document.createElement("canvas");
    this.tell = { picture: describer(this.overlay), timeline: describer(this.timeline.canvas) };
    this.figures = calmly((text) => (find(".figures", root).textContent = text));
    this.calm = calmly(() => this.drawTimeline(), matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 60);
    legend(find(".series", root), model);
    this.listen();
    this.forget();
    this.draw();
  }

  listen() {
    this.button.onclick = () => (this.run ? this.stop() : this.start());
    this.choice.onchange = () => this.run && this.start();
    this.baseline.onchange = () => this.stream && this.connect();
    this.overlay.onclick = ({ offsetX, offsetY }) => {
      const number = faceAt(this.overlay, this.result, offsetX, offsetY);
      if (number !== null) this.pick(number);
    };
    navigator.mediaDevices?.addEventListener("devicechange", () => this.list());
    new ResizeObserver(() => this.draw()).observe(this.overlay);
    theme.onChange(() => this.draw());
  }

  /** Ask for the camera, and send its pictures until `stop`. */
  async start() {
    this.stop("Waiting for the camera …");
    const run = (this.run = {});
    this.connections = 0;
    this.button.textContent = "Stop camera";
    try {
      const camera = await openCamera(this.choice.value);
      if (run !== this.run) return release(camera);
      this.camera = camera;
    } catch (error) {
      if (run === this.run) this.stop(WHY[error.name] ?? `Cannot use the camera: ${error.message}`, true);
      return;
    }
    const gone = "The camera was disconnected.";
    this.camera.getVideoTracks()[0].onended = () => this.stop(gone, true);
    this.video.srcObject = this.camera;
    this.video.play().catch(() => {});
    this.hint.hidden = true;
    this.list();
    this.connect();
    this.watch(run);
  }

  /** Let the camera go. */
  stop(text = "The camera is off.", bad = false) {
    this.run = null;
    this.stream?.close();
    if (this.camera) release(this.camera);
    Object.assign(this, { stream: null, camera: null });
    this.video.srcObject = null;
    this.button.textContent = "Start camera";
    this.hint.hidden = false;
    this.hint.textContent = text;
    this.figures("");
    say(this.status, text, bad);
    this.forget();
    this.draw();
  }

  /** Another workspace is shown. */
  leave() {
    if (this.run) this.stop();
  }

  async list() {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const chosen = this.choice.value;
    const option = (value, textContent) => make("option", { value, textContent });
    const known = cameras.filter(({ deviceId }) => deviceId);
    const options = known.map(({ label, deviceId }, place) => option(deviceId, label || `camera ${place + 1}`));
    this.choice.replaceChildren(option("", "default"), ...options);
    this.choice.value = cameras.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
  }

  connect() {
    this.stream?.close();
    const stream = (this.stream = new Stream({
      query: { baseline: this.baseline.checked },
      onResult: (result, latency_ms) => stream === this.stream && this.take(result, latency_ms),
      onState: (state) => stream === this.stream && this.turn(state),
    }));
  }

  turn(state) {
    this.forget();
    this.draw();
    if (state === "lost") say(this.status, "The service is unreachable or busy. Trying again …", true);
    else say(this.status, this.connections++ ? "Reconnected; faces are numbered afresh." : "The camera is on.");
  }

  /** Send each picture of the camera for which there is room; hidden pages get none. */
  watch(run) {
    if (run !== this.run) return;
    onPicture(this.video, () => this.watch(run));
    if (document.hidden || performance.now() < this.rest_ms || !this.stream.hasRoom() || this.encoding) return;
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(SIDE_PX / Math.max(width, height), 1);
    Object.assign(this.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.encoding = true;
    const jpeg = new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", 0.85));
    this.stream.send(jpeg.finally(() => (this.encoding = false)));
  }

  take(result, latency_ms) {
    if (result.reason === "busy") this.rest_ms = performance.now() + BUSY_MS;
    if (!result.width) return this.figures(result.detail);
    const now_s = performance.now() / 1000;
    this.result = result;
    for (const [place, face] of result.faces.entries()) {
      const number = numberOf(face, place);
      if (!this.samples.has(number)) this.samples.set(number, []);
      this.samples.get(number).push({ t: now_s, face });
    }
    for (const [number, samples] of this.samples) {
      while (samples.length && now_s - samples[0].t > HISTORY_S) samples.shift();
      if (!samples.length) this.samples.delete(number);
    }
    this.taken = [...this.taken.filter((one) => now_s - one <= RATE_S), now_s];
    const rate = this.taken.length > 1 ? (this.taken.length - 1) / (now_s - this.taken[0]) : 0;
    this.figures(`${rate.toFixed(0)} pictures per second · ${latency_ms.toFixed(0)} ms`);
    this.light(result.light);
    this.choose(now_s);
    this.draw();
  }

  /** Keep to the selected face; where it has been away for a while, to the first that is there. */
  choose(now_s) {
    const last = this.samples.get(this.selected)?.at(-1);
    const { faces } = this.result;
    if (this.panel.naming.contains(document.activeElement)) return; // the name is this one's
    if (faces.length && !(last && now_s - last.t < AWAY_S)) this.selected = numberOf(faces[0], 0);
  }

  pick(number) {
    this.selected = number;
    this.draw();
  }

  forget() {
    this.people.clear();
    Object.assign(this, { result: null, selected: null, samples: new Map(), taken: [], rest_ms: 0, encoding: false });
    this.light(null);
  }

  light(light) {
    const line = find(".light", this.root);
    line.hidden = !light;
    if (!light) return;
    const colour = `#${light.rgb.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
    find(".swatch", line).style.background = colour;
    find("output", line).value = `${colour}, brightness ${percent(light.brightness)} %`;
  }

  draw() {
    drawOverlay(this.overlay, this.model, this.people, this.result, this.selected);
    const faces = (this.result?.faces ?? []).map((face, place) => ({ number: numberOf(face, place), face }));
    this.panel.show(faces, this.selected, this.samples.get(this.selected) ?? []);
    this.tell.picture(this.run ? inWords(this.result, this.people) : "The camera is off.");
    this.calm();
  }

  drawTimeline() {
    const now_s = performance.now() / 1000;
    const samples = this.samples.get(this.selected) ?? [];
    const rows = [{ name: "", samples: samples.map(({ t, face }) => ({ t: t - now_s, face })), open: true }];
    this.timeline.show({
      ...{ rows, from_s: -HISTORY_S, to_s: 0, gap_s: 1, spans: [], named: false },
      series: new Set(allSeries(this.model)),
      mark: (time_s) => (time_s ? `−${-time_s} s` : "now"),
    });
    const last = samples.at(-1)?.face;
    const name = last && `${this.people.name(this.selected)} for ${Math.ceil(now_s - samples[0].t)} s`;
    this.tell.timeline(last ? `${sentence(name, last)}.` : "No face yet.");
  }
}

async function openCamera(deviceId) {
  if (!navigator.mediaDevices) throw new Error("browsers allow it only for pages from this computer or over https");
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  return navigator.mediaDevices.getUserMedia({ video: deviceId ? { ...size, deviceId: { exact: deviceId } } : size });
}

function release(camera) {
  for (const track of camera.getTracks()) {
    track.onended = null;
    track.stop();
  }
}
