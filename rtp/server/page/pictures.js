// The others' pictures: one receiving connection for each party that has video, with bounded retries.

import { Connection } from "./connection.js";

const MOST = 24; // at a time; more than a screen shows
const ATTEMPTS = 5;
const PAUSE = 2000; // ms before the second attempt; doubles
const STEADY = 20000; // ms after which a connection that breaks may have all attempts again

export class Pictures {
  #open = new Map();

  /** show(id, stream) with each picture, show(id, null, failed) when it ends; failed: it is not tried again. */
  constructor(show) {
    this.show = show;
  }

  /** The parties as they are now: pictures open and close to match. */
  update(parties) {
    const there = new Map(parties.map((party) => [party.id, party]));
    for (const [id, picture] of this.#open) {
      if (there.get(id)?.video === picture.url) continue;
      picture.close(there.has(id));
      this.#open.delete(id);
      this.show(id, null, false);
    }
    for (const { id, video, connected } of parties) {
      if (!video || !connected || this.#open.has(id) || this.#open.size >= MOST) continue;
      const picture = new Picture(video, (stream, failed) => this.show(id, stream, failed));
      this.#open.set(id, picture);
      picture.open();
    }
  }

  /** A person wants it tried again. */
  retry(id) {
    this.#open.get(id)?.retry();
  }

  close() {
    for (const picture of this.#open.values()) picture.close();
    this.#open.clear();
  }
}

class Picture {
  #connection = null; #timer = 0; #attempts = 0; #since = 0; #closed = false;

  constructor(url, show) {
    this.url = url;
    this.show = show;
  }

  async open() {
    this.#attempts += 1;
    const connection = (this.#connection = new Connection(this.url, (state) => {
      if (state === "connected") this.#since = performance.now();
      if (state === "lost") this.#again();
    }));
    connection.peer.addTransceiver("video", { direction: "recvonly" });
    connection.peer.ontrack = ({ track }) => this.show(new MediaStream([track]), false);
    try {
      await connection.open();
    } catch {
      this.#again();
    }
  }

  retry() {
    this.close();
    this.#closed = false;
    this.#attempts = 0;
    this.open();
  }

  /** here: whether its party is still there; with a party that leaves the server ends what it shows. */
  close(here = true) {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (here) this.#connection?.close();
    else this.#connection?.drop();
    this.#connection = null;
  }

  #again() {
    if (this.#closed) return;
    if (this.#since && performance.now() - this.#since > STEADY) this.#attempts = 0;
    this.#since = 0;
    const failed = this.#attempts >= ATTEMPTS;
    this.show(null, failed);
    if (!failed) this.#timer = setTimeout(() => this.open(), PAUSE * 2 ** Math.max(0, this.#attempts - 1));
  }
}
