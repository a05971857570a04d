// The person's own tile, which moves from the lobby to the stage, and the meter beside the choice of microphone.

import { Tile } from "./tile.js";

export class Own {
  #track = null;

  constructor(mirror, meter) {
    this.mirror = mirror;
    this.meter = meter;
    this.tile = new Tile("");
    this.tile.item.classList.add("own");
    this.home();
  }

  /** Back in the lobby. */
  home() {
    this.mirror.append(this.tile.item);
    this.tile.speaking(false);
  }

  /** What the microphone and the camera do. */
  show({ microphone, camera, muted }) {
    if (camera !== this.#track) this.tile.show(camera && new MediaStream([camera]));
    this.#track = camera;
    const sound = !microphone ? "listens only" : muted ? "muted" : "";
    this.tile.note(["you", sound].filter(Boolean).join(", "));
    this.tile.item.dataset.quiet = String(!microphone || muted);
  }

  /** 0 to 1. */
  level(part) {
    this.tile.level(part);
    this.meter.setAttribute("aria-valuenow", Math.round(part * 100));
    this.meter.firstElementChild.style.transform = `scaleX(${part.toFixed(2)})`;
  }
}
