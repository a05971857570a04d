// A player of one camera: play begins a session (WHEP), pause ends it, so that nobody sends to nobody.

import { Connection, Refusal } from "/page/connection.js";

const PAUSES = [1000, 2000, 4000, 8000, 15000]; // ms before another attempt
const STEADY = 10000; // ms after which a connection that breaks is tried again soon

export class Player {
  #connection = null; #timer = 0; #failures = 0; #since = 0; #path = null;

  /** video: the element. tell(state, why): "paused", "connecting", "playing", "broken". */
  constructor(video, tell) {
    this.video = video;
    this.tell = tell;
    addEventListener("pagehide", () => this.pause());
  }

  get playing() {
    return this.#path !== null;
  }

  /** Watch the stream at a path, from now on, whatever breaks meanwhile. */
  play(path) {
    this.pause();
    this.#path = path;
    this.#failures = 0;
    this.#open();
  }

  /** End it; the server detaches us at once. */
  pause() {
    this.#path = null;
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
    this.video.srcObject = null;
    this.tell("paused", "");
  }

  async #open() {
    const connection = (this.#connection = new Connection(this.#path, (state, why) => this.#follow(connection, state, why)));
    const stream = new MediaStream();
    for (const kind of ["video", "audio"]) connection.peer.addTransceiver(kind, { direction: "recvonly" });
    connection.peer.ontrack = ({ track }) => stream.addTrack(track);
    this.video.srcObject = stream;
    try {
      await connection.open();
    } catch (error) {
      if (this.#connection === connection) this.#again(error instanceof Refusal || error instanceof TypeError ? error.message : String(error));
    }
  }

  #follow(connection, state, why) {
    if (this.#connection !== connection) return;
    if (state === "connecting") this.tell("connecting", "");
    if (state === "connected") {
      this.#since = performance.now();
      this.video.play().catch(() => {}); // without a gesture it may have to be muted
      this.tell("playing", "");
    }
    if (state === "lost") this.#again(why);
  }

  #again(why) {
    if (this.#since && performance.now() - this.#since > STEADY) this.#failures = 0;
    this.#since = 0;
    this.#connection = null;
    this.tell("broken", why);
    this.#timer = setTimeout(() => this.#open(), PAUSES[Math.min(this.#failures++, PAUSES.length - 1)]);
  }
}
