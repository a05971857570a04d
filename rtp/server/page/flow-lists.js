// The flows in words: what a screen reader and a keyboard get, and what ends a client.

import { element } from "./element.js";
import { clock, size } from "./flow-model.js";

const SURE = 4000; // ms within which a second click means it

export class FlowLists {
  #shapes = {}; #rows = {};

  constructor(lists, { choose, end }) {
    this.lists = lists;
    this.choose = choose;
    this.end = end;
  }

  show(model, chosen) {
    const wanted = { flows: model.flows.map(flowRow), clients: model.clients.map(clientRow), machines: model.machines.map(machineRow) };
    for (const [list, rows] of Object.entries(wanted)) {
      const shape = JSON.stringify(rows.map((row) => [row.box ?? null, row.name]));
      if (shape !== this.#shapes[list]) { this.#shapes[list] = shape; this.#build(list, rows); }
      rows.forEach((row, i) => this.#update(this.#rows[list][i], row, chosen));
    }
  }

  #build(list, rows) {
    const focused = document.activeElement?.dataset?.focus;
    this.#rows[list] = rows.map((row) => this.#make(row));
    const none = { flows: "Nothing is provided.", clients: "Nobody is here.", machines: "None is known." }[list];
    this.lists[list].replaceChildren(...(rows.length ? this.#rows[list].map((made) => made.item) : [element("li", "none", none)]));
    if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  #make({ box, name, client }) {
    const item = element("li"), row = element(box ? "button" : "div"), state = element("span", "state"), about = [];
    row.append(element("span", "name", name), " ", state);
    for (let i = 0; i < 3; i++) { about.push(element("span", "about")); row.append(" ", about[i]); }
    item.append(row);
    if (box) {
      row.type = "button";
      row.dataset.focus = `row ${box}`;
      row.addEventListener("click", () => this.choose(box));
    }
    if (client) {
      const end = element("button", "end", "End");
      end.type = "button";
      end.dataset.focus = `end ${client}`;
      end.setAttribute("aria-label", `End ${name}`);
      this.#arm(end, { id: client, name });
      item.append(end);
    }
    return { item, row, state, about };
  }

  #update({ row, state, about }, wanted, chosen) {
    const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
    row.className = `row ${wanted.look}`;
    if (wanted.box) row.setAttribute("aria-pressed", String(wanted.box === chosen));
    say(state, wanted.state);
    about.forEach((line, i) => {
      const [text, mood] = wanted.about[i] ?? [""];
      say(line, text);
      line.className = `about ${mood ?? ""}`;
      line.hidden = !text;
    });
  }

  /** The first click asks whether one is sure, the second ends the client. */
  #arm(button, client) {
    let timer = 0;
    const disarm = () => { button.dataset.sure = "false"; button.textContent = "End"; button.setAttribute("aria-label", `End ${client.name}`); };
    button.addEventListener("click", () => {
      clearTimeout(timer);
      if (button.dataset.sure === "true") { disarm(); this.end(client); return; }
      button.dataset.sure = "true";
      button.textContent = "Sure?";
      button.setAttribute("aria-label", `Sure? Click again to end ${client.name}`);
      timer = setTimeout(disarm, SURE);
    });
  }
}

function flowRow(flow) {
  const state = flow.state === "running" ? (flow.kind === "brought" ? "brought in" : "running") : flow.state === "obsolete" ? "taken over" : "stopped";
  const takers = flow.takers.length ? flow.takers.join(", ") : "nobody";
  return { box: flow.box, look: `is-${flow.kind} is-${flow.state}`, name: flow.name, state,
           about: [[`${flow.format} · on ${flow.machine} · ${size(flow.memory)}`], [`${flow.from} → ${takers}`], [flow.state === "stopped" ? flow.note : "", "warn"]] };
}

function clientRow(client) {
  return { box: client.box, look: `is-${client.kind}`, name: client.name, state: client.machine, client: client.id,
           about: [[`${client.kind === "converter" ? "converter · " : ""}${client.about}`], [client.problem, "bad"]] };
}

function machineRow(machine) {
  const cores = machine.cores ? `${machine.busy.toFixed(1)} of ${machine.cores} cores busy` : "";
  const memory = machine.memory_limit ? `${size(machine.memory)} of ${size(machine.memory_limit)}` : "";
  return { look: "is-machine", name: machine.name, state: machine.pid ? `pid ${machine.pid}` : "",
           about: [[machine.problem, "bad"], [[memory, cores].filter(Boolean).join(" · ")], [clock(machine)]] };
}
