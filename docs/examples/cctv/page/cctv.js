// The page: a card for each camera, true to what the server says.

import { follow } from "/page/stream.js";
import { TokenForm } from "/page/token.js";
import { Camera } from "./camera.js";

const $ = (id) => document.getElementById(id);
const token = new TokenForm($("token"));
const cards = new Map();

function draw(cameras) {
  const there = new Set(cameras.map(({ name }) => name));
  for (const [name, card] of cards) {
    if (there.has(name)) continue;
    card.remove();
    cards.delete(name);
  }
  for (const camera of cameras) {
    if (cards.has(camera.name)) cards.get(camera.name).update(camera);
    else {
      const card = new Camera(camera);
      cards.set(camera.name, card);
      $("cameras").append(card.card);
    }
  }
}

function tell(state, why) {
  $("connection").dataset.state = state;
  $("connection").textContent = { live: "live", lost: `not connected: ${why}`, locked: "needs a token" }[state];
  if (state === "locked") token.want(why);
  else token.hide();
}

follow("/cameras/events", (_name, _id, cameras) => draw(cameras), tell);
