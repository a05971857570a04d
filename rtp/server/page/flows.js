// Listings of flows come in, the views are told; clients are started and ended.

import { element } from "./element.js";
import { FlowModel, size } from "./flow-model.js";
import { FlowPicture } from "./flow-picture.js";
import { FlowLists } from "./flow-lists.js";
import { count } from "./model.js";
import { ask, follow, reason } from "./stream.js";
import { TokenForm } from "./token.js";

const $ = (id) => document.getElementById(id);
let model = new FlowModel();
let chosen = null;

const picture = new FlowPicture($("canvas"), choose);
const lists = new FlowLists({ flows: $("flows"), clients: $("clients"), machines: $("machines") }, { choose, end });

function choose(id) {
  chosen = chosen === id ? null : id;
  draw();
}

function draw() {
  if (chosen && !model.boxes.has(chosen)) chosen = null;
  picture.show(model, chosen);
  lists.show(model, chosen);
  $("empty").hidden = model.boxes.size > 0 || Boolean(model.problem);
  $("problem").hidden = !model.problem;
  $("problem").textContent = model.problem;
  showCommands();
  const { machines, clients, flows, stopped, memory } = model.totals;
  const plural = (n, one) => [n === 1 ? one : `${one}s`, count(n)];
  const facts = [plural(machines, "machine"), plural(clients, "client"), plural(flows, "flow"), ["stopped", count(stopped)], ["memory", size(memory)]];
  facts.forEach(([name, value], i) => {
    const pair = $("totals").children[i] ?? $("totals").appendChild(element("div"));
    if (!pair.firstChild) pair.append(element("dt"), element("dd"));
    if (pair.firstChild.textContent !== name) pair.firstChild.textContent = name;
    if (pair.lastChild.textContent !== value) pair.lastChild.textContent = value;
  });
}

function showCommands() {
  $("starting").hidden = !model.commands.length;
  const names = model.commands.join("\n");
  if ($("command").dataset.names === names) return;
  $("command").dataset.names = names;
  $("command").replaceChildren(...model.commands.map((name) => new Option(name, name)));
}

// Clients

$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("command").value;
  const body = JSON.stringify({ name });
  change(`${name} was started.`, "/flows/clients", { method: "POST", body, headers: { "content-type": "application/json" } });
});

function end(client) {
  change(`${client.name} was asked to end.`, `/flows/clients/${encodeURIComponent(client.id)}`, { method: "DELETE" });
}

async function change(done, path, options) {
  try {
    const response = await ask(path, options);
    if (response.ok) say(done);
    else say(await reason(response), true);
  } catch (error) {
    say(`The server cannot be reached: ${error.message}`, true);
  }
}

let hiding = 0;

function say(text, bad = false) {
  $("toast").replaceChildren(element("span", "", text));
  $("toast").dataset.bad = String(bad);
  clearTimeout(hiding);
  hiding = setTimeout(() => $("toast").replaceChildren(), 8000);
}

// The rest of the page

$("smaller").addEventListener("click", () => picture.zoom(1 / 1.3));
$("larger").addEventListener("click", () => picture.zoom(1.3));
$("fit").addEventListener("click", () => picture.zoom(0));

const token = new TokenForm($("token"));

follow("/flows/events", (name, id, data) => {
  if (name !== "flows") return;
  model = new FlowModel(data);
  draw();
}, (state, detail) => {
  const words = { live: "live", lost: "connection lost, trying again", locked: "locked" };
  $("connection").dataset.state = state;
  $("connection").textContent = words[state];
  $("connection").title = typeof detail === "string" ? detail : "";
  document.body.classList.toggle("stale", state !== "live");
  if (state === "locked") token.want(detail);
  else token.hide();
});
