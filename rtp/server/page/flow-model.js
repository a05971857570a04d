// What the views show, out of a listing of flows: no DOM here.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function size(bytes) {
  for (const [unit, of] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) if (bytes >= of) return `${number.format(bytes / of)} ${unit}`;
  return `${bytes} B`;
}

/** A format in few words: what people say of sound and pictures, else as it is. */
export function brief({ type, parameters: p }) {
  const rest = Object.entries(p);
  if (type === "AUDIO" && p.rate) return `${number.format(p.rate / 1000)} kHz · ${{ 1: "mono", 2: "stereo" }[p.channels] ?? `${p.channels ?? "?"} ch`}${p.sample ? ` · ${p.sample}` : ""}`;
  if (type === "VIDEO" && p.width) return `${p.width}×${p.height}${p.pixels ? ` · ${p.pixels}` : ""}`;
  return [type, ...rest.map(([name, value]) => `${name} ${value}`)].join(" · ");
}

/** How far a machine's clock is from ours, if it was measured. */
export function clock({ offset, uncertainty }) {
  if (!uncertainty) return "";
  const text = `${number.format(Math.abs(offset) / 1e6)} ms`;
  return `clock ${text.startsWith("0 ") ? "as ours" : offset < 0 ? `${text} ahead` : `${text} behind`} ± ${number.format(uncertainty / 1e6)} ms`;
}

const isFlow = (kind) => kind === "flow" || kind === "brought";
const key = (machine, what, subject) => JSON.stringify([machine, what, subject]);

export class FlowModel {
  constructor(body = { machines: [], map: { machines: {}, boxes: [], arrows: [] }, commands: [], problem: "" }) {
    this.machines = body.machines;
    this.commands = body.commands;
    this.problem = body.problem;
    this.boxes = new Map();
    this.arrows = new Map();
    this.clients = [];
    this.flows = [];
    const ids = new Map(); // of the map, which are new each time
    for (const box of body.map.boxes) {
      const id = key(box.machine, isFlow(box.kind) ? "flow" : "client", box.subject);
      ids.set(box.id, id);
      this.boxes.set(id, { ...box, id, line: box.about[0] ?? "", note: box.about.slice(1).join(", ") });
    }
    for (const { sender, receiver, label, carried } of body.map.arrows) {
      const from = ids.get(sender), to = ids.get(receiver);
      this.arrows.set(`${from} ${to}`, { id: `${from} ${to}`, from, to, label, carried });
    }
    for (const machine of body.machines) {
      for (const client of machine.clients) this.#addClient(machine, client);
      for (const flow of machine.flows) this.#addFlow(machine, flow);
    }
    this.clients.sort((a, b) => a.machine.localeCompare(b.machine) || a.name.localeCompare(b.name));
    this.totals = {
      machines: body.machines.length, clients: this.clients.length,
      flows: new Set(this.flows.map((f) => f.name)).size, stopped: this.flows.filter((f) => f.state === "stopped").length,
      memory: body.machines.reduce((sum, m) => sum + m.memory, 0),
    };
  }

  #addClient(machine, client) {
    const box = this.boxes.get(key(machine.name, "client", client.id));
    const how = client.movable ? "started by the server, movable" : client.launched ? "started by the server" : "";
    const again = client.restarts ? `started again ${client.restarts === 1 ? "once" : `${client.restarts} times`}` : "";
    const need = client.need >= 0.005 ? `${client.need.toFixed(2)} cores` : "";
    if (box) box.note = client.problem || how;
    this.clients.push({ ...client, box: box?.id, kind: box?.kind ?? "client", machine: machine.name,
                        about: [client.pid ? `pid ${client.pid}` : "", how, again, need].filter(Boolean).join(" · ") });
  }

  #addFlow(machine, flow) {
    const box = this.boxes.get(key(machine.name, "flow", flow.flow));
    if (!box) return;
    box.line = brief(flow.format);
    box.note = { running: flow.origin ? `from ${flow.origin}` : flow.variant ? "converted" : "", obsolete: "taken over",
                 stopped: flow.stopped_by.length ? `stopped by ${flow.stopped_by.join(", ")}` : "waits for START" }[box.state] ?? box.state;
    const takers = flow.consumers.map((c) => `${c.name}${c.signal ? ` (${c.signal})` : ""}`);
    this.flows.push({ box: box.id, kind: box.kind, state: box.state, name: box.name, machine: machine.name, note: box.note, format: box.line,
                      from: flow.origin ? `machine ${flow.origin}` : flow.provider, takers, memory: flow.memory });
  }

  scopes() {
    const scopes = new Map();
    for (const box of this.boxes.values()) {
      if (!scopes.has(box.machine)) scopes.set(box.machine, []);
      scopes.get(box.machine).push(box);
    }
    return scopes;
  }
}
