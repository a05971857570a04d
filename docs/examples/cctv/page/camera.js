// One camera on the page: its player, and what an operator may switch.

import { element } from "/page/element.js";
import { ask, reason } from "/page/stream.js";
import { Player } from "./player.js";

const PATIENCE = 3000; // ms for the server to say what a person has set
const WORDS = { stopped: "not needed", connecting: "connecting", live: "live", waiting: "unreachable" };

export class Camera {
  #camera; #stream; #player;

  constructor(camera) {
    this.#camera = camera;
    this.#stream = (camera.streams.find((stream) => !stream.recording) ?? camera.streams[0]).name;
    this.card = element("section", "camera");
    this.card.dataset.camera = camera.name;
    const title = element("div", "title"), screen = element("div", "screen"), controls = element("div", "controls");
    this.state = element("p");
    title.append(element("h2", "", camera.name), this.state);
    this.video = element("video");
    this.video.muted = this.video.playsInline = true;
    this.notice = element("p", "notice", "Press play");
    screen.append(this.video, this.notice);
    this.toggle = button("play", "Play", () => (this.#player.playing ? this.#player.pause() : this.#player.play(this.#path())));
    this.sound = button("sound", "Sound", () => this.#hear(this.video.muted));
    this.sound.setAttribute("aria-pressed", "false");
    this.choice = element("select");
    this.choice.setAttribute("aria-label", `Stream of ${camera.name}`);
    for (const { name } of camera.streams) this.choice.append(new Option(name, name, false, name === this.#stream));
    this.choice.onchange = () => this.#choose(this.choice.value);
    controls.append(this.toggle, this.sound, this.choice);
    this.recording = new Switch("Record this stream", (on) => this.#record(on));
    this.broadcast = new Switch("Sound in the broadcast", (on) => this.#setRule(on));
    const operator = element("div", "operator");
    operator.append(this.recording.label, this.broadcast.label);
    this.card.append(title, screen, controls, operator);
    this.#player = new Player(this.video, (state, why) => this.#show(state, why));
    this.update(camera);
  }

  /** What the server says of it now. */
  update(camera) {
    this.#camera = camera;
    const stream = this.#shown();
    this.state.dataset.state = this.card.dataset.state = stream.state;
    this.state.textContent = [WORDS[stream.state] ?? stream.state, stream.error, stream.viewers ? `${stream.viewers} watching` : ""].filter(Boolean).join(" · ");
    this.recording.show(stream.recording);
    this.broadcast.show(stream.audio);
  }

  remove() {
    this.#player.pause();
    this.card.remove();
  }

  #path() {
    return `/whep/${encodeURIComponent(this.#camera.name)}/${encodeURIComponent(this.#stream)}`;
  }

  #choose(name) {
    this.#stream = name;
    this.recording.forget();
    this.broadcast.forget();
    this.update(this.#camera);
    if (this.#player.playing) this.#player.play(this.#path());
  }

  #hear(on) {
    this.video.muted = !on;
    this.sound.setAttribute("aria-pressed", String(on));
  }

  #show(state, why) {
    this.card.dataset.player = state;
    this.toggle.textContent = state === "paused" ? "Play" : "Pause";
    this.notice.textContent = { paused: "Press play", connecting: "Connecting", playing: "", broken: `Trying again. ${why}` }[state];
  }

  #shown() {
    return this.#camera.streams.find((each) => each.name === this.#stream) ?? this.#camera.streams[0];
  }

  #record(on) {
    const path = `/cameras/${encodeURIComponent(this.#camera.name)}/${encodeURIComponent(this.#stream)}/writer`;
    return this.#ask(path, { method: on ? "PUT" : "DELETE" });
  }

  /** A broadcast is a rule: with the feed of the sound, or without. */
  #setRule(sound) {
    const { broadcast, feeds: [pictures, ...rest] } = this.#shown();
    const body = JSON.stringify({ feeds: sound ? [pictures, ...rest] : [pictures] });
    return this.#ask(`/rules/${encodeURIComponent(broadcast)}`, { method: "PUT", body, headers: { "content-type": "application/json" } });
  }

  async #ask(path, options) {
    const response = await ask(path, options).catch(() => null);
    if (response?.ok) return;
    this.recording.forget();
    this.broadcast.forget();
    this.notice.textContent = response ? await reason(response) : "The server does not answer.";
    this.update(this.#camera);
  }
}

function button(name, text, act) {
  const made = element("button", name, text);
  made.type = "button";
  made.onclick = act;
  return made;
}

/** Stays as a person set it until the server says the same, or refuses. */
class Switch {
  #box = element("input"); #wanted = null;

  constructor(text, change) {
    this.label = element("label");
    this.#box.type = "checkbox";
    this.#box.setAttribute("role", "switch");
    this.#box.onchange = () => {
      this.#wanted = this.#box.checked;
      setTimeout(() => this.forget(), PATIENCE);
      change(this.#wanted);
    };
    this.label.append(this.#box, text);
  }

  /** What the server says. */
  show(on) {
    if (this.#wanted === on) this.#wanted = null;
    if (this.#wanted === null) this.#box.checked = on;
  }

  /** Of what was asked for nothing comes. */
  forget() {
    this.#wanted = null;
  }
}
