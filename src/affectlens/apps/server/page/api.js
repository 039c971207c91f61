/** The service: its model, photos and clips, and the stream of a camera. */

const PATIENCE_MS = 90_000;
const FIRST_PAUSE_MS = 500; // the place of a clip that this page has just given up is free by then
const SILENCE_MS = 10_000;
const AHEAD = 2;

/** A refusal or failure of the service, in one line for people. */
export class ServiceError extends Error {}

/** What the model answers and what the service takes. */
export const getModel = async () => (await ask("/v1/model")).json();

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("cannot reach the service");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const wait_s = response.status === 503 ? Number(response.headers.get("retry-after")) || 1 : 0;
  throw Object.assign(new ServiceError(problem.detail || `the service returned status ${response.status}`), { wait_s });
}

async function patiently(path, options, onWait) {
  const end_ms = performance.now() + PATIENCE_MS;
  for (let pause_ms = FIRST_PAUSE_MS; ; pause_ms *= 2) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!error.wait_s || performance.now() + 1000 * error.wait_s > end_ms) throw error;
      onWait?.(error);
      await pause(Math.min(1000 * error.wait_s, pause_ms), options.signal);
    }
  }
}

/** Wait, unless the signal says that nobody waits any more. */
function pause(time_ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, time_ms);
    const leave = () => (clearTimeout(timer), reject(signal.reason));
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave, { once: true });
  });
}

/**
 * Analyze a photo or a clip; `onResult` gets one result, or one for each frame as they come.
 * While the service is busy it comes again, after `onWait`. Rejects with ServiceError or AbortError.
 */
export async function analyze(file, { query = {}, signal, onResult, onWait }) {
  const type = /^(image|video)\//.test(file.type) ? file.type : "application/octet-stream";
  const options = { method: "POST", body: file, headers: { "content-type": type }, signal };
  const response = await patiently(`/v1/analyze?${new URLSearchParams(query)}`, options, onWait);
  if (response.headers.get("content-type").startsWith("application/json")) {
    onResult(await response.json());
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new ServiceError("the connection to the service was interrupted");
    });
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => onResult(JSON.parse(line)));
    if (done) return;
  }
}

/**
 * Pictures out, results in, at most two under way; connects again, ever more slowly, until closed.
 * `onResult(result, latency_ms)`; `onState("open" | "lost")`: open for each connection, in which faces are numbered
 * anew, and lost once until then.
 */
export class Stream {
  constructor({ query, onResult, onState }) {
    Object.assign(this, { query, onResult, onState, sent: [], tries: 0, state: "", closed: false });
    this.connect();
  }

  /** Whether another picture would not have to wait; a service that has been silent for long counts as lost. */
  hasRoom() {
    if (this.sent.length && performance.now() - this.sent[0] > SILENCE_MS) this.lose();
    return this.socket?.readyState === WebSocket.OPEN && this.sent.length < AHEAD;
  }

  /** Send the JPEG that a promise gives. */
  async send(picture) {
    const { socket } = this;
    this.sent.push(performance.now());
    const blob = await picture;
    if (socket === this.socket && socket.readyState === WebSocket.OPEN) socket.send(blob);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  connect() {
    if (this.closed) return;
    const url = new URL(`/v1/stream?${new URLSearchParams(this.query)}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(url));
    this.sent = [];
    socket.onopen = () => this.turn("open");
    socket.onclose = () => socket === this.socket && this.lose();
    socket.onmessage = ({ data }) => socket === this.socket && this.take(JSON.parse(data));
  }

  take(result) {
    this.tries = 0;
    const latency_ms = performance.now() - this.sent.shift();
    if (!this.closed) this.onResult(result, latency_ms);
  }

  lose() {
    if (this.closed) return;
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.sent = [];
    if (!document.hidden) this.turn("lost");
    this.timer = setTimeout(() => this.wake(), Math.min(500 * 2 ** this.tries++, 8000));
  }

  wake() {
    if (!document.hidden) this.connect();
    else document.addEventListener("visibilitychange", () => this.wake(), { once: true });
  }

  turn(state) {
    if (this.closed || (state === "lost" && this.state === "lost")) return;
    this.state = state;
    this.onState(state);
  }
}
