// Who feeds whom, as SVG. The shape is drawn anew when boxes or arrows come or go.

import { HEIGHT, WIDTH, layOut } from "./layout.js";
import { Sheet, arrow, cut, make, say, set } from "./svg.js";

const ROUND = { flow: 31, brought: 31, converter: 3 }; // corners; else 9

export class FlowPicture extends Sheet {
  #shape = ""; #boxes = new Map(); #arrows = new Map();

  show(model, chosen) {
    const shape = `${this.isNarrow} ${[...model.boxes.values()].map((b) => b.id + b.kind).join()} ${[...model.arrows.keys()].join()}`;
    if (shape !== this.#shape) { this.#shape = shape; this.#draw(model); }
    for (const box of model.boxes.values()) this.#updateBox(box, chosen);
    for (const link of model.arrows.values()) this.#updateArrow(link, model, chosen);
  }

  #draw(model) {
    const layout = layOut(model.scopes(), [...model.arrows.values()], this.room, this.isNarrow);
    this.take(layout);
    this.#boxes = new Map();
    this.#arrows = new Map();
    for (const link of model.arrows.values()) {
      const from = layout.nodes.get(link.from), to = layout.nodes.get(link.to);
      const below = to.y > from.y + HEIGHT && to.x < from.x + WIDTH; // on a machine that stands further down
      const { d, x, y } = arrow(from, to, layout.down || below);
      const label = make("text", { x, y });
      const group = make("g", {}, make("path", { d, "marker-end": "url(#tip)" }), label);
      this.#arrows.set(link.id, { group, label });
      this.svg.append(group);
    }
    for (const box of model.boxes.values()) this.#addBox(box, layout.nodes.get(box.id));
    this.place();
  }

  #addBox(box, { x, y }) {
    const inset = ROUND[box.kind] > 9 ? 20 : 12;
    const name = make("text", { x: inset, y: 22, class: "name" }), line = make("text", { x: inset, y: 39, class: "type" });
    const note = make("text", { x: inset, y: 54, class: "state" }), title = make("title");
    name.textContent = cut(box.name, inset > 12 ? 18 : 20);
    const group = make("g", { transform: `translate(${x} ${y})` }, title,
                       make("rect", { width: WIDTH, height: HEIGHT, rx: ROUND[box.kind] ?? 9, class: "box" }), name, line, note);
    group.dataset.id = box.id;
    this.#boxes.set(box.id, { group, line, note, title });
    this.svg.append(group);
  }

  #updateBox(box, chosen) {
    const { group, line, note, title } = this.#boxes.get(box.id);
    set(group, "class", `node is-${box.kind} is-${box.state}${box.id === chosen ? " chosen" : ""}`);
    say(line, cut(box.kind === "converter" ? `converter · ${box.line}` : box.line, 25));
    say(note, cut(box.note, 24));
    say(title, [`${box.name} on ${box.machine}`, ...box.about].join("\n"));
  }

  #updateArrow(link, model, chosen) {
    const { group, label } = this.#arrows.get(link.id);
    const near = link.from === chosen || link.to === chosen ? " near" : "";
    const runs = [link.from, link.to].every((id) => model.boxes.get(id).state === "running") ? " is-running" : "";
    set(group, "class", `link${link.carried ? " is-carried" : ""}${link.label === "STOP" ? " is-stop" : ""}${runs}${near}`);
    say(label, link.label);
  }
}
