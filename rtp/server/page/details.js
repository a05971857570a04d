// One node: its numbers, its links with a button to take each down, and a form for a new one.

import { element } from "./element.js";
import { count, drops, rate } from "./model.js";

export class Details {
  #id = null; #shape = ""; #live = new Map();

  constructor(section, { putUp, takeDown, close }) {
    Object.assign(this, { section, putUp, takeDown, close });
    section.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  }

  show(model, chosen, focus = false) {
    const node = model.nodes.get(chosen);
    this.section.hidden = !node;
    if (!node) { this.#shape = ""; return; }
    const shape = JSON.stringify([chosen, node.absent, node.crash?.time, node.outs.map((l) => l.id), node.ins.map((l) => l.id)]);
    if (shape !== this.#shape) { this.#shape = shape; this.#build(model, node); }
    for (const [update, say] of this.#live) { const text = say(model); if (update.textContent !== text) update.textContent = text; }
    if (focus) this.section.querySelector("h2").focus();
  }

  #tell(holder, say) { this.#live.set(holder, say); return holder; }

  #build(model, node) {
    this.#live = new Map();
    const id = node.id, now = (m) => m.nodes.get(id) ?? node;
    const title = element("h2", "", node.name);
    title.id = "details-title";
    title.tabIndex = -1;
    title.append(element("small", "", ` in ${node.scope}`));
    const close = element("button", "close", "Close");
    close.type = "button";
    close.addEventListener("click", () => this.close());
    const head = element("div", "head");
    head.append(title, close);
    const facts = element("dl", "facts");
    const fact = (name, say) => {
      const pair = element("div");
      pair.append(element("dt", "", name), this.#tell(element("dd"), say));
      facts.append(pair);
    };
    fact("State", (m) => now(m).state);
    if (!node.absent) {
      fact("Class", (m) => now(m).type);
      fact("Queue", (m) => `${count(now(m).queued)} of ${count(now(m).channel_size)}`);
      fact("In", (m) => rate(now(m).rate));
      fact("Links out", (m) => `${now(m).outputs} of ${now(m).max_links}`);
      for (const [name, field] of [["From itself", "to_self"], ["From threads", "from_threads"]]) {
        if (node[field].offered) fact(name, (m) => [`${count(now(m)[field].handled)} handled`, drops(now(m)[field].dropped)].filter(Boolean).join(", "));
      }
    }
    const parts = [head, facts];
    if (node.crash) parts.push(crashView(node.crash, true));
    if (node.outs.length) parts.push(this.#links("Sends to", node.outs, (l) => l.to, model));
    if (node.ins.length) parts.push(this.#links("Hears", node.ins, (l) => l.from, model));
    if (!node.absent) parts.push(this.#form(model, node));
    this.section.replaceChildren(...parts);
  }

  #links(title, links, other, model) {
    const list = element("ul", "ends");
    for (const link of links) {
      const peer = model.nodes.get(other(link)), item = element("li"), button = element("button", "", "Take down");
      button.type = "button";
      button.setAttribute("aria-label", `Take down the link between this node and ${peer.name} in ${peer.scope}`);
      button.addEventListener("click", () => this.takeDown(link));
      const about = this.#tell(element("span", "facts"), (m) => {
        const l = m.links.get(link.id) ?? link;
        return [rate(l.rate), `${count(l.counts.handled)} handled`, l.counts.queued ? `${count(l.counts.queued)} queued` : "", drops(l.counts.dropped)]
          .filter(Boolean).join(" · ");
      });
      const text = element("span", "end");
      text.append(element("b", "", peer.name), ` in ${peer.scope}`, about);
      item.append(text, button);
      list.append(item);
    }
    const part = element("div");
    part.append(element("h3", "", title), list);
    return part;
  }

  #form(model, node) {
    const form = element("form", "new-link"), label = element("label", "", "New link to "), select = element("select");
    const taken = new Set(node.outs.map((l) => l.to));
    for (const [scope, nodes] of model.scopes()) {
      const free = nodes.filter((n) => !n.absent && !taken.has(n.id));
      if (!free.length) continue;
      const group = element("optgroup");
      group.label = scope;
      group.append(...free.map((n) => new Option(n.name, n.id)));
      select.append(group);
    }
    label.append(select);
    form.append(label, element("button", "", "Put up"));
    form.addEventListener("submit", (event) => { event.preventDefault(); if (select.value) this.putUp(node.id, select.value); });
    return form;
  }
}

export function crashView(crash, open = false) {
  const box = element("details", "crash"), when = new Date(crash.time * 1000);
  const time = element("time", "", when.toLocaleTimeString());
  time.dateTime = when.toISOString();
  const summary = element("summary");
  summary.append(element("b", "", crash.name), ` in ${crash.scope} · ${crash.hook} · `, time, element("span", "error", crash.error));
  const trace = element("pre", "", crash.traceback);
  trace.tabIndex = 0;
  trace.setAttribute("aria-label", "Traceback");
  box.append(summary, trace);
  box.open = open;
  return box;
}
