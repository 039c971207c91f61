/** On demand: where the model looked in the picture that is shown. */

import { seconds, wording } from "./affect.js";
import { analyze } from "./api.js";
import { find } from "./dom.js";

const SIDE_PX = 160;
const SHADES = [
  [48, 18, 59], [70, 105, 224], [42, 185, 238], [47, 241, 155], [161, 253, 61],
  [236, 209, 58], [251, 129, 34], [210, 49, 5], [122, 4, 3],
];

export class Heat {
  constructor(root) {
    Object.assign(this, { root, figure: find("figure", root), asked: null });
    const key = find(".key canvas", root);
    Object.assign(key, { width: 256, height: 1 });
    const pen = key.getContext("2d");
    pen.putImageData(coloured(new Uint8Array(256).map((_, place) => place), 256, 1), 0, 0);
  }

  /** Forget what is shown and what is under way. */
  clear() {
    this.asked?.abort();
    this.asked = null;
    this.figure.hidden = true;
  }

  /** Ask about the face nearest to `face` in a photo's file or a picture element; resolves when it is shown.  Rejects
   * as `analyze`. */
  async show(shown, face, name, time_s) {
    this.clear();
    const asked = (this.asked = new AbortController());
    const blob = shown instanceof Blob ? shown : await still(shown);
    if (!blob) throw new Error("this browser cannot copy the picture");
    let result = null;
    await analyze(blob, { query: { explain: true }, signal: asked.signal, onResult: (one) => (result = one) });
    const seen = nearest(result.faces, face.box_xyxy);
    if (!seen) throw new Error("no face was found at this position in the still");
    await this.draw(seen);
    if (asked !== this.asked) return;
    const when = time_s === null ? "" : ` at ${seconds(time_s)}`;
    this.figure.hidden = false;
    find("figcaption", this.root).textContent = `${name}${when}: ${wording(seen)}, by ${seen.explanation.method}`;
  }

  async draw({ explanation: { crop, heat } }) {
    const [face, gray] = await Promise.all([picture(crop), picture(heat)]);
    for (const name of [".crop", ".shades"]) {
      const canvas = find(name, this.root);
      Object.assign(canvas, { width: SIDE_PX * 2, height: SIDE_PX * 2 });
      canvas.getContext("2d").drawImage(face, 0, 0, canvas.width, canvas.height);
    }
    const { canvas, pen } = blank(gray.naturalWidth, gray.naturalHeight);
    pen.drawImage(gray, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    pen.putImageData(coloured(data.filter((_, place) => place % 4 === 0), canvas.width, canvas.height), 0, 0);
    const over = find(".shades", this.root).getContext("2d");
    over.globalAlpha = 0.5;
    over.drawImage(canvas, 0, 0, SIDE_PX * 2, SIDE_PX * 2);
  }
}

function blank(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return { canvas, pen: canvas.getContext("2d") };
}

async function picture(png) {
  const image = Object.assign(new Image(), { src: `data:image/png;base64,${png}` });
  await image.decode();
  return image;
}

/** The picture that a video shows, in its own size, as JPEG. */
function still(video) {
  const { canvas, pen } = blank(video.videoWidth, video.videoHeight);
  pen.drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}

/** Gray values -> pixels from blue (0) to red (255). */
function coloured(grays, width, height) {
  const image = new ImageData(width, height);
  grays.forEach((gray, place) => {
    const at = (gray / 255) * (SHADES.length - 1);
    const low = Math.min(Math.floor(at), SHADES.length - 2);
    const mixed = SHADES[low].map((part, channel) => part + (at - low) * (SHADES[low + 1][channel] - part));
    image.data.set([...mixed, 255], 4 * place);
  });
  return image;
}

function nearest(faces, box) {
  const ranked = faces.map((face) => ({ face, share: shared(face.box_xyxy, box) })).sort((a, b) => b.share - a.share);
  return ranked[0]?.share > 0 ? ranked[0].face : null;
}

/** Intersection over union of two boxes. */
function shared(a, b) {
  const [across, down] = [0, 1].map((axis) => {
    return Math.max(Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis]), 0);
  });
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (across * down) / (area(a) + area(b) - across * down);
}
