/** The picture of a photo or clip: shown, played, sought. */

import { find, onPicture } from "./dom.js";

const INTO_FRAME_S = 0.002;

export class Player {
  /** `onTime(time_s)` with each picture while playing; `onState()` when it plays, pauses, or cannot be shown. */
  constructor(stage, { onTime, onState }) {
    Object.assign(this, { image: find("img", stage), video: find("video", stage), onTime, onState });
    const { image, video } = this;
    for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => onState());
    for (const element of [image, video])
      element.addEventListener("error", () => element.getAttribute("src") && this.refuse());
    image.addEventListener("load", () => onState());
    video.addEventListener("loadedmetadata", () => video.videoWidth || this.refuse()); // its sound is known, no more
    video.addEventListener("loadeddata", () => onState());
    this.close();
  }

  /** Show a file; what the browser cannot show is `refused`. */
  open(file) {
    this.close();
    this.url = URL.createObjectURL(file);
    const element = file.type.startsWith("image/") ? this.image : this.video;
    element.hidden = false;
    element.src = this.url;
    if (element === this.video) this.watch(this.url);
  }

  close() {
    for (const element of [this.image, this.video]) {
      element.hidden = true;
      element.removeAttribute("src");
    }
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
    Object.assign(this, { url: null, refused: false, start_s: null, wanted_s: null });
  }

  /** The element that shows a whole picture now, or null. */
  get picture() {
    if (this.image.naturalWidth && !this.image.hidden) return this.image;
    return this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && !this.video.hidden ? this.video : null;
  }

  get playing() {
    return Boolean(this.url) && !this.video.paused && !this.video.ended;
  }

  /** Length of the clip in seconds, 0 where it is not known. */
  get duration_s() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
  }

  /** `picture`, once the clip has come to where it was sent. */
  async still() {
    const { video } = this;
    const there = new AbortController(); // of the events the first ends the wait; a closed clip is emptied
    const either = (resolve) => {
      for (const name of ["seeked", "emptied"])
        video.addEventListener(name, () => (there.abort(), resolve()), { signal: there.signal });
    };
    if (!video.hidden && video.seeking) await new Promise(either);
    return this.picture;
  }

  toggle() {
    if (this.playing) this.video.pause();
    else this.video.play().catch(() => {});
  }

  /** Show the picture of a time in seconds from the first one. */
  seek(time_s) {
    this.video.pause();
    if (this.start_s === null) this.wanted_s = time_s; // where the first picture lies is not known yet
    else if (!this.video.hidden) this.video.currentTime = this.start_s + time_s + INTO_FRAME_S;
  }

  watch(url) {
    onPicture(this.video, (_, { mediaTime }) => {
      if (url !== this.url) return;
      this.start_s ??= mediaTime;
      if (this.wanted_s !== null) this.seek(this.wanted_s);
      this.wanted_s = null;
      if (this.playing) this.onTime(mediaTime - this.start_s);
      this.watch(url);
    });
  }

  refuse() {
    this.refused = true;
    for (const element of [this.image, this.video]) element.hidden = true;
    this.onState();
  }
}
