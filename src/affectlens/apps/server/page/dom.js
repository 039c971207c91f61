/** Elements, canvases and downloads: what every module needs. */

/** The first element that a selector finds. */
export const find = (selector, root = document) => root.querySelector(selector);

/** A new element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Show a line that screen readers speak too; the same line is not spoken twice. */
export function say(line, text, bad = false) {
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("bad", bad);
}

/** `work`, done with the latest values at most once in so many milliseconds. */
export function calmly(work, pause_ms = 1000) {
  let waiting = null;
  let next_ms = 0;
  return (...values) => {
    const now = () => {
      next_ms = performance.now() + pause_ms;
      work(...values);
    };
    clearTimeout(waiting);
    const wait_ms = next_ms - performance.now();
    if (wait_ms > 0) waiting = setTimeout(now, wait_ms);
    else now();
  };
}

/** `work(now, {mediaTime})` with the next picture of a video; older browsers do not say when that is. */
export function onPicture(video, work) {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(work);
  else requestAnimationFrame((now) => work(now, { mediaTime: video.currentTime }));
}

/** Describes a canvas to who does not see it, at most once a second. */
export function describer(canvas) {
  return calmly((text) => canvas.getAttribute("aria-label") !== text && canvas.setAttribute("aria-label", text));
}

/** Colours and font of the style sheet, for canvases; `onChange` is called when the colour scheme changes. */
export const theme = {
  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "card", "accent", "valence", "arousal"])
      theme[name] = style.getPropertyValue(`--${name}`).trim();
    theme.font = getComputedStyle(document.body).fontFamily;
  },
  onChange(work) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (theme.read(), work()));
  },
};

/** A canvas in the size that it has on the page, cleared: {pen, width, height} in CSS pixels. */
export function sheet(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  const [across, down] = [Math.max(Math.round(width * scale), 1), Math.max(Math.round(height * scale), 1)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  Object.assign(pen, { font: `11px ${theme.font}`, textBaseline: "middle", lineJoin: "round" });
  return { pen, width, height };
}

/** Hand a text to the user as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
