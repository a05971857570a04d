// One party's tile: its picture, or its initials on a colour of its own, its name and its level.

import { element } from "./element.js";
import { part } from "./meter.js";

const COLOURS = 8; // as in room.css
const STILL = 2500; // ms without a new frame after which a picture is taken away

export class Tile {
  #video = element("video"); #avatar = element("span", "avatar"); #name = element("span", "name"); #note = element("span", "note"); #bar = element("i"); #again = null; #frames = 0; #fresh = 0;

  /** retry(): a person wants the picture tried again. */
  constructor(name, retry = null) {
    this.item = element("li", "tile");
    this.#video.muted = this.#video.playsInline = this.#video.autoplay = true;
    this.#video.disablePictureInPicture = true;
    this.#video.addEventListener("loadeddata", () => this.checkPicture());
    const plate = element("span", "plate"), level = element("span", "bar");
    this.#avatar.setAttribute("aria-hidden", "true");
    level.setAttribute("aria-hidden", "true");
    level.append(this.#bar);
    plate.append(this.#name, level, this.#note);
    this.item.append(this.#video, this.#avatar, plate);
    this.rename(name);
    if (!retry) return;
    this.#again = element("button", "again", "Try the picture again");
    this.#again.type = "button";
    this.#again.hidden = true;
    this.#again.addEventListener("click", () => { this.#again.hidden = true; retry(); });
    this.item.append(this.#again);
  }

  rename(name) {
    this.item.dataset.party = name;
    this.item.dataset.colour = colour(name);
    this.#video.setAttribute("aria-label", `Picture of ${name || "yourself"}`);
    this.#avatar.textContent = initials(name);
    this.#name.textContent = name;
  }

  update({ kind, connected, speaks, hears, level, speaking }) {
    this.level(speaks ? part(-level) : 0);
    this.speaking(speaking);
    const facts = [connected ? "" : "connecting", kind === "rtp" ? "by RTP" : "", speaks ? "" : "listens only", hears ? "" : "speaks only"];
    this.note(facts.filter(Boolean).join(", "));
  }

  note(text) {
    if (this.#note.textContent !== text) this.#note.textContent = text;
  }

  level(part) {
    this.#bar.style.transform = `scaleX(${part.toFixed(2)})`;
  }

  speaking(speaking) {
    this.item.dataset.speaking = String(speaking);
  }

  /** A picture from now on, or null: the initials; failed: with a button to try again. */
  show(stream, failed = false) {
    this.#video.srcObject = stream;
    this.#frames = this.#fresh = 0;
    this.item.dataset.picture = "false";
    if (stream) this.#video.play().catch(() => {});
    if (this.#again) this.#again.hidden = !failed;
  }

  /** A camera that is switched off leaves its last frame behind: take it away; and bring it back. */
  checkPicture() {
    if (!this.#video.srcObject || document.hidden) return;
    const frames = this.#video.getVideoPlaybackQuality().totalVideoFrames, now = performance.now();
    if (frames !== this.#frames) this.#fresh = now;
    this.#frames = frames;
    this.item.dataset.picture = String(this.#video.readyState > 1 && now - this.#fresh < STILL);
  }

  remove() {
    this.#video.srcObject = null;
    this.item.remove();
  }
}

/** The same for the same name, everywhere. */
export function colour(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % COLOURS;
}

export function initials(name) {
  const words = name.split(/[\s._-]+/).filter((word) => /[^\d]/.test(word));
  return (words.length ? words : [name || "?"]).slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}
