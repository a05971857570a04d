// What pictures share: elements of SVG, arrows between boxes, and a sheet that can be zoomed.

import { HEIGHT, WIDTH } from "./layout.js";

const SVG = "http://www.w3.org/2000/svg";
const FAR = 0.5; // scale below which text is not worth drawing

export function make(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
  element.append(...children);
  return element;
}
export const set = (element, name, value) => { if (element.getAttribute(name) !== value) element.setAttribute(name, value); };
export const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
export const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** The way from one box to another, and where its label stands. */
export const arrow = (a, b, down) => (down ? curveDown(a, b) : curve(a, b));

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

/** The paper of a picture: it fits its canvas, until a person zooms. */
export class Sheet {
  #scale = 0; #layout = null; #effective = 1;

  constructor(canvas, choose) {
    this.canvas = canvas;
    canvas.addEventListener("click", (event) => {
      const group = event.target.closest("g.node");
      if (group) choose(group.dataset.id);
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  get isNarrow() { return this.canvas.clientWidth < 640; }
  get room() { return this.canvas.clientWidth / Math.max(200, this.canvas.clientHeight); }

  /** A new sheet with the scopes of a layout; what is put on it comes before `place`. */
  take(layout) {
    this.#layout = layout;
    const tip = make("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto", markerUnits: "userSpaceOnUse" },
                     make("path", { d: "M0 0L8 4L0 8Z" }));
    this.svg = make("svg", { viewBox: `-8 -8 ${layout.width + 16} ${layout.height + 16}`, "aria-hidden": "true" }, make("defs", {}, tip));
    for (const box of layout.scopes) {
      const title = make("text", { x: box.x + 18, y: box.y + 19, class: "scope" });
      title.textContent = cut(box.name, Math.floor(box.width / 9));
      this.svg.append(make("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 14, class: "scope" }), title);
    }
  }

  place() {
    this.canvas.replaceChildren(this.svg);
    this.resize();
  }

  zoom(factor) {
    this.#scale = factor ? Math.min(2.5, Math.max(0.08, this.#effective * factor)) : 0;
    this.resize();
  }

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
