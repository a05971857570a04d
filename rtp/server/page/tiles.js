// All tiles: the own one first, then one for each of the others.

import { keepFitting } from "./grid.js";
import { Tile } from "./tile.js";

export class Tiles {
  #tiles = new Map(); #timer = 0;

  /** retry(id): a person wants that picture tried again. */
  constructor(list, retry) {
    this.list = list;
    this.retry = retry;
    keepFitting(list);
  }

  /** Begin with the own tile, which stays whoever comes and goes. */
  begin(own) {
    this.end();
    this.list.append(own.item);
    this.#timer = setInterval(() => { for (const tile of this.#tiles.values()) tile.checkPicture(); }, 1000);
  }

  end() {
    clearInterval(this.#timer);
    this.update([]);
  }

  /** The others as they are now. */
  update(parties) {
    const there = new Set(parties.map((party) => party.id));
    for (const [id, tile] of this.#tiles) if (!there.has(id)) { tile.remove(); this.#tiles.delete(id); }
    for (const party of parties) {
      let tile = this.#tiles.get(party.id);
      if (!tile) {
        tile = new Tile(party.id, () => this.retry(party.id));
        this.#tiles.set(party.id, tile);
        this.list.append(tile.item);
      }
      tile.update(party);
    }
  }

  show(id, stream, failed) {
    this.#tiles.get(id)?.show(stream, failed);
  }
}
