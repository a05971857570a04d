// The graph in words: what a screen reader and a keyboard get. One tab stop; arrows move.

import { element } from "./element.js";
import { count, drops, rate } from "./model.js";

export class List {
  #rows = new Map(); #shape = ""; #filter = "";

  constructor(container, filter, choose) {
    this.container = container;
    this.choose = choose;
    filter.addEventListener("input", () => { this.#filter = filter.value.trim().toLowerCase(); this.#narrow(); });
    container.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-id]");
      if (button) choose(button.dataset.id, true);
    });
    container.addEventListener("keydown", (event) => this.#move(event));
  }

  show(model, chosen) {
    const shape = [...model.nodes.keys()].join();
    if (shape !== this.#shape) { this.#shape = shape; this.#build(model); }
    for (const node of model.nodes.values()) {
      const row = this.#rows.get(node.id);
      const state = node.state, full = node.channel_size && node.queued / node.channel_size > 0.8;
      const facts = [node.absent ? "" : `queue ${count(node.queued)} of ${count(node.channel_size)}`, node.rate ? rate(node.rate) : ""];
      const lost = node.ins.reduce((n, link) => n + link.dropped, node.dropped);
      if (lost) facts.push(`${count(lost)} dropped`);
      const text = facts.filter(Boolean).join(" · ");
      if (row.facts.textContent !== text) row.facts.textContent = text;
      if (row.state.textContent !== state) row.state.textContent = state;
      if (row.type.textContent !== node.type) row.type.textContent = node.type;
      row.button.dataset.state = state;
      row.button.classList.toggle("full", Boolean(full));
      row.button.setAttribute("aria-pressed", String(node.id === chosen));
      const links = node.outs.map((l) => {
        const to = model.nodes.get(l.to);
        const where = to.scope === node.scope ? to.name : `${to.name} in ${to.scope}`;
        return [`→ ${where}`, rate(l.rate), l.counts.queued ? `${count(l.counts.queued)} queued` : "", drops(l.counts.dropped), l.up ? "" : "going down"]
          .filter(Boolean).join(", ");
      });
      this.#showLinks(row.links, links);
    }
  }

  #showLinks(list, texts) {
    while (list.children.length > texts.length) list.lastChild.remove();
    texts.forEach((text, i) => {
      const item = list.children[i] ?? list.appendChild(document.createElement("li"));
      if (item.textContent !== text) item.textContent = text;
    });
    list.hidden = !texts.length;
  }

  #build(model) {
    const focused = document.activeElement?.dataset?.id;
    this.#rows = new Map();
    const sections = [...model.scopes()].map(([scope, nodes]) => {
      const section = element("section"), list = element("ul", "nodes");
      section.append(element("h3", "", scope), list);
      for (const node of nodes) {
        const item = element("li"), button = element("button", "row"), links = element("ul", "links");
        button.type = "button";
        button.tabIndex = -1;
        button.dataset.id = node.id;
        const row = { button, links, item, text: `${node.name} ${node.scope} ${node.type}`.toLowerCase(),
                      state: element("span", "state"), type: element("span", "type"), facts: element("span", "facts") };
        button.append(element("span", "name", node.name), " ", row.type, " ", row.state, " ", row.facts);
        item.append(button, links);
        list.append(item);
        this.#rows.set(node.id, row);
      }
      return section;
    });
    this.container.replaceChildren(...sections);
    this.#narrow();
    if (focused) this.#rows.get(focused)?.button.focus();
  }

  #narrow() {
    let first = true;
    for (const row of this.#rows.values()) {
      row.item.hidden = !`${row.text} ${row.button.dataset.state ?? ""}`.includes(this.#filter);
      row.button.tabIndex = !row.item.hidden && first ? 0 : -1;
      first &&= row.item.hidden;
    }
    for (const section of this.container.children) section.hidden = !section.querySelector("li:not([hidden]) > button");
  }

  #move(event) {
    const buttons = [...this.#rows.values()].filter((row) => !row.item.hidden).map((row) => row.button);
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0 || !buttons[to]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}
