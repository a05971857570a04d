// The graph as SVG. The shape is drawn anew when nodes or links come or go; a tick only
// changes what differs, so that 500 nodes stay cheap.

import { HEIGHT, WIDTH, layOut } from "./layout.js";
import { rate } from "./model.js";
import { Sheet, arrow, cut, make, say, set } from "./svg.js";

export class Picture extends Sheet {
  #shape = ""; #nodes = new Map(); #links = new Map();

  show(model, chosen) {
    const shape = `${this.isNarrow} ${[...model.nodes.keys()].join()} ${[...model.links.keys()].join()}`;
    if (shape !== this.#shape) { this.#shape = shape; this.#draw(model); }
    for (const node of model.nodes.values()) this.#updateNode(node, chosen);
    for (const link of model.links.values()) this.#updateLink(link, chosen);
  }

  #draw(model) {
    const layout = layOut(model.scopes(), [...model.links.values()], this.room, this.isNarrow);
    this.take(layout);
    this.#nodes = new Map();
    this.#links = new Map();
    for (const link of model.links.values()) this.#addLink(link, layout);
    for (const node of model.nodes.values()) this.#addNode(node, layout.nodes.get(node.id));
    this.place();
  }

  #addLink(link, { nodes, down }) {
    const { d, x, y } = arrow(nodes.get(link.from), nodes.get(link.to), down);
    const path = make("path", { d, "marker-end": "url(#tip)" });
    const label = make("text", { x, y });
    const group = make("g", { class: "link" }, path, label);
    this.#links.set(link.id, { group, path, label });
    this.svg.append(group);
  }

  #addNode(node, { x, y }) {
    const name = make("text", { x: 12, y: 22, class: "name" }), type = make("text", { x: 12, y: 39, class: "type" });
    const state = make("text", { x: 12, y: 54, class: "state" }), flow = make("text", { x: WIDTH - 12, y: 54, class: "flow" });
    const bar = make("rect", { x: 1, y: HEIGHT - 4, width: 0, height: 3, rx: 1.5, class: "bar" });
    const title = make("title");
    name.textContent = cut(node.name, 19);
    title.textContent = `${node.name} in ${node.scope}`;
    const group = make("g", { transform: `translate(${x} ${y})` }, title,
                       make("rect", { width: WIDTH, height: HEIGHT, rx: 9, class: "box" }), name, type, state, flow, bar);
    group.dataset.id = node.id;
    this.#nodes.set(node.id, { group, type, state, flow, bar });
    this.svg.append(group);
  }

  #updateNode(node, chosen) {
    const { group, type, state, flow, bar } = this.#nodes.get(node.id);
    const full = node.channel_size ? Math.min(1, node.queued / node.channel_size) : 0;
    set(group, "class", `node ${node.state}${node.id === chosen ? " chosen" : ""}${full > 0.8 ? " full" : ""}`);
    say(type, cut(node.type || (node.crash ? node.crash.error : "has left"), 26));
    say(state, node.absent ? (node.state === "crashed" ? "✕ crashed" : "gone")
      : `${node.state === "running" ? "" : `${node.state} · `}queue ${node.queued}/${node.channel_size}`);
    say(flow, node.absent ? "" : node.rate ? rate(node.rate) : "");
    set(bar, "width", String(Math.round(full * (WIDTH - 2))));
  }

  #updateLink(link, chosen) {
    const { group, path, label } = this.#links.get(link.id);
    const losing = link.dropRate > 0 ? " losing" : link.dropped ? " lossy" : "";
    const near = link.from === chosen || link.to === chosen ? " near" : "";
    set(group, "class", `link${link.up ? "" : " down"}${link.rate ? " busy" : ""}${losing}${near}`);
    set(path, "stroke-width", String(link.rate ? (1.3 + Math.log10(1 + link.rate) * 0.55).toFixed(1) : 1.2));
    say(label, `${link.rate ? rate(link.rate) : ""}${link.dropped ? ` ⚠ ${link.dropped}` : ""}`);
  }
}
