// The graph as SVG. The shape is drawn anew when nodes or links come or go; a tick only
// changes what differs, so that 500 nodes stay cheap.

import { HEIGHT, WIDTH, layOut } from "./layout.js";
import { rate } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";
const FAR = 0.5; // scale below which text is not worth drawing

function make(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
  element.append(...children);
  return element;
}
const set = (element, name, value) => { if (element.getAttribute(name) !== value) element.setAttribute(name, value); };
const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

export class Picture {
  #shape = ""; #nodes = new Map(); #links = new Map(); #scale = 0; #layout = null;

  constructor(canvas, choose) {
    this.canvas = canvas;
    canvas.addEventListener("click", (event) => {
      const group = event.target.closest("g.node");
      if (group) choose(group.dataset.id);
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  show(model, chosen) {
    const down = this.canvas.clientWidth < 640;
    const shape = `${down} ${[...model.nodes.keys()].join()} ${[...model.links.keys()].join()}`;
    if (shape !== this.#shape) { this.#shape = shape; this.#draw(model, down); }
    for (const node of model.nodes.values()) this.#updateNode(node, chosen);
    for (const link of model.links.values()) this.#updateLink(link, chosen);
  }

  #draw(model, down) {
    const room = this.canvas.clientWidth / Math.max(200, this.canvas.clientHeight);
    const layout = this.#layout = layOut(model.scopes(), [...model.links.values()], room, down);
    const tip = make("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto", markerUnits: "userSpaceOnUse" },
                     make("path", { d: "M0 0L8 4L0 8Z" }));
    this.svg = make("svg", { viewBox: `-8 -8 ${layout.width + 16} ${layout.height + 16}`, "aria-hidden": "true" }, make("defs", {}, tip));
    for (const box of layout.scopes) {
      const title = make("text", { x: box.x + 18, y: box.y + 19, class: "scope" });
      title.textContent = cut(box.name, Math.floor(box.width / 9));
      this.svg.append(make("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 14, class: "scope" }), title);
    }
    this.#nodes = new Map();
    this.#links = new Map();
    for (const link of model.links.values()) this.#addLink(link, layout);
    for (const node of model.nodes.values()) this.#addNode(node, layout.nodes.get(node.id));
    this.canvas.replaceChildren(this.svg);
    this.resize();
  }

  #addLink(link, { nodes, down }) {
    const a = nodes.get(link.from), b = nodes.get(link.to);
    const { d, x, y } = down ? curveDown(a, b) : curve(a, b);
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

  zoom(factor) {
    this.#scale = factor ? Math.min(2.5, Math.max(0.08, this.#effective * factor)) : 0;
    this.resize();
  }

  #effective = 1;

  resize() {
    if (!this.svg) return;
    const { width, height } = this.#layout;
    const padding = 2 * parseFloat(getComputedStyle(this.canvas).paddingLeft) + 2;
    const byWidth = (this.canvas.clientWidth - padding) / (width + 16);
    const both = Math.min(byWidth, (this.canvas.clientHeight - padding) / (height + 16));
    this.#effective = this.#scale || Math.min(1.25, this.#layout.down ? byWidth : Math.max(both, Math.min(byWidth, 0.3)));
    this.svg.setAttribute("width", (width + 16) * this.#effective);
    this.svg.setAttribute("height", (height + 16) * this.#effective);
    this.svg.classList.toggle("far", this.#effective < FAR);
  }
}

function curve(a, b) {
  if (a === b) return { d: `M${a.x + WIDTH} ${a.y + 20}c40 -10 40 40 2 26`, x: a.x + WIDTH + 34, y: a.y + 36 };
  const y1 = a.y + HEIGHT / 2, y2 = b.y + HEIGHT / 2;
  const x1 = a.x + WIDTH, x2 = b.x - 1, bend = x2 > x1 ? Math.max(30, (x2 - x1) / 2) : 90;
  return { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 6 };
}

function curveDown(a, b) {
  if (a === b) return curve(a, b);
  const x1 = a.x + WIDTH / 2, x2 = b.x + WIDTH / 2;
  const y1 = a.y + HEIGHT, y2 = b.y - 1, bend = y2 > y1 ? Math.max(20, (y2 - y1) / 2) : 70;
  return { d: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`, x: (x1 + x2) / 2 + 4, y: (y1 + y2) / 2 + 4 };
}
