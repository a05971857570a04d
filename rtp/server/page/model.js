// What the views show, out of snapshots: no DOM here.

export const key = (address) => JSON.stringify([address.scope, address.name]);
const sum = (dropped) => Object.values(dropped).reduce((a, b) => a + b, 0);
const number = new Intl.NumberFormat("en");
export const count = (n) => number.format(n);

export function rate(perSecond) {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} M/s`;
  if (perSecond >= 1e4) return `${(perSecond / 1e3).toFixed(0)} k/s`;
  return `${perSecond >= 10 || perSecond === 0 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`;
}

export function drops(dropped) {
  const reasons = Object.entries(dropped).map(([why, n]) => `${count(n)} ${why.replace("_", " ")}`);
  return reasons.length ? `${count(sum(dropped))} dropped (${reasons.join(", ")})` : "";
}

export class Model {
  nodes = new Map();
  links = new Map();
  crashes = [];
  totals = null;
  #before = new Map();
  #time = 0;

  setCrashes(crashes) {
    this.crashes = crashes;
  }

  /** time: of the server, in ms. Rates are differences of counters between two snapshots. */
  setGraph(snapshot, time) {
    const seconds = this.#time && time > this.#time ? (time - this.#time) / 1000 : 0;
    const counters = new Map();
    const since = (id, now) => {
      counters.set(id, now);
      const before = this.#before.get(id);
      return seconds && before !== undefined && now >= before ? (now - before) / seconds : 0;
    };
    this.nodes = new Map();
    for (const node of snapshot.nodes) {
      const id = key(node.address);
      const aside = node.to_self.handled + node.from_threads.handled;
      this.nodes.set(id, {
        ...node.address, id, ...node, outs: [], ins: [], rate: since(`node ${id}`, aside),
        dropped: sum(node.to_self.dropped) + sum(node.from_threads.dropped), crash: null,
      });
    }
    this.links = new Map();
    for (const link of snapshot.links) {
      const from = key(link.sender), to = key(link.receiver), id = `${from} ${to} ${link.id}`;
      if (!this.nodes.has(to)) this.nodes.set(to, ghost(link.receiver, "gone"));
      const dropped = sum(link.counts.dropped);
      const item = {
        id, from, to, up: link.up, counts: link.counts, dropped,
        rate: since(id, link.counts.handled), dropRate: since(`drop ${id}`, dropped),
      };
      this.links.set(id, item);
      this.nodes.get(from).outs.push(item);
      this.nodes.get(to).ins.push(item);
      this.nodes.get(to).rate += item.rate;
    }
    for (const crash of this.crashes) {
      const id = key(crash);
      if (!this.nodes.has(id)) this.nodes.set(id, ghost(crash, "crashed"));
      this.nodes.get(id).crash = crash;
    }
    this.totals = { ...snapshot.totals, crashes: snapshot.crash_count, present: snapshot.nodes.length,
                    rate: since("totals", snapshot.totals.handled) };
    this.#before = counters;
    this.#time = time;
  }

  scopes() {
    const scopes = new Map();
    for (const node of this.nodes.values()) {
      if (!scopes.has(node.scope)) scopes.set(node.scope, []);
      scopes.get(node.scope).push(node);
    }
    return scopes;
  }
}

function ghost({ scope, name }, state) {
  return { id: key({ scope, name }), scope, name, type: "", state, queued: 0, channel_size: 0, outs: [], ins: [],
           rate: 0, dropped: 0, waiting: 0, crash: null, absent: true };
}
