// Who is in the room, in words: for a line of text, and for a screen reader as people come and go.

const PAUSE = 1200; // ms in which comings and goings are gathered into one sentence
const NAMED = 3;

/** "Alice", "Alice and Bob", "Alice, Bob, Carol and 4 more"; "" for none. */
export function names(ids) {
  if (ids.length < 2) return ids.join();
  const named = ids.length > NAMED ? ids.slice(0, NAMED) : ids.slice(0, -1);
  const last = ids.length > NAMED ? `${ids.length - NAMED} more` : ids.at(-1);
  return `${named.join(", ")} and ${last}`;
}

export class Announcer {
  #known = null; #came = new Set(); #went = new Set(); #timer = 0;

  constructor(element) {
    this.element = element;
  }

  /** Who else is there now; the first time is where it starts from. */
  update(ids) {
    const now = new Set(ids);
    for (const id of now) if (this.#known && !this.#known.has(id) && !this.#went.delete(id)) this.#came.add(id);
    for (const id of this.#known ?? []) if (!now.has(id) && !this.#came.delete(id)) this.#went.add(id);
    this.#known = now;
    if (this.#came.size + this.#went.size) this.#timer ||= setTimeout(() => this.#say(), PAUSE);
  }

  forget() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#known = null;
    this.#came.clear();
    this.#went.clear();
    this.element.textContent = "";
  }

  #say() {
    this.#timer = 0;
    const said = [];
    if (this.#came.size) said.push(`${names([...this.#came])} joined.`);
    if (this.#went.size) said.push(`${names([...this.#went])} left.`);
    this.#came.clear();
    this.#went.clear();
    if (said.length) this.element.textContent = said.join(" ");
  }
}
