// What is seen in a room: tiles, pictures, the quality line, and the word on who comes and goes.

import { Announcer } from "./announce.js";
import { Pictures } from "./pictures.js";
import { Quality } from "./quality.js";
import { Tiles } from "./tiles.js";

export class Stage {
  #begun = false;

  /** section: has a title; own: the person's own tile stays first. */
  constructor(section, own, { list, title, quality, announce }) {
    Object.assign(this, { section, own, title });
    this.tiles = new Tiles(list, (id) => this.pictures.retry(id));
    this.pictures = new Pictures((id, stream, failed) => this.tiles.show(id, stream, failed));
    this.quality = new Quality((line) => { quality.textContent = line; });
    this.announcer = new Announcer(announce);
  }

  /** In this room, as this party, with this peer connection; again after a rejoin. */
  begin(room, party, peer) {
    this.announcer.forget();
    this.own.tile.rename(party);
    this.quality.follow(peer);
    this.title.textContent = room;
    document.title = `${room} · eventgraph`;
    if (this.#begun) return;
    this.#begun = true;
    this.section.hidden = false;
    this.tiles.begin(this.own.tile);
    this.title.focus();
  }

  update(self, others) {
    this.own.tile.speaking(Boolean(self?.speaking));
    this.tiles.update(others);
    this.pictures.update(others);
    if (self) this.announcer.update(others.map((party) => party.id));
  }

  /** No media any more; the tiles stay. */
  pause() {
    this.quality.stop();
    this.pictures.close();
    this.own.tile.speaking(false);
  }

  end() {
    this.pause();
    this.#begun = false;
    this.section.hidden = true;
    this.tiles.end();
    this.own.home();
    this.announcer.forget();
    document.title = "Room · eventgraph";
  }
}
