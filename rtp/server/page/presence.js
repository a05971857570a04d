// Who is in a room, as the server tells while one follows it.

import { follow } from "./stream.js";

export class Presence {
  parties = []; server = "waiting"; // then live, lost, locked
  #abort = null;

  /** changed() after each change; locked(unlock) when the server wants its token, unlocked() when it has it. */
  constructor({ changed, locked, unlocked }) {
    Object.assign(this, { changed, locked, unlocked });
  }

  /** Follow this room, and no other any more. */
  follow(room) {
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    this.parties = [];
    follow(`/rooms/${encodeURIComponent(room)}/events`, (name, id, data) => {
      if (name !== "room" || signal.aborted) return;
      this.parties = data.parties;
      this.changed();
    }, (state, detail) => {
      if (signal.aborted) return;
      this.server = state;
      if (state === "locked") this.locked(detail);
      else this.unlocked();
      this.changed();
    }, signal);
  }
}
