// Snapshots come in, the views are told; what a person does goes out.

import { crashView, Details } from "./details.js";
import { element } from "./element.js";
import { List } from "./list.js";
import { count, Model, rate } from "./model.js";
import { Picture } from "./picture.js";
import { ask, follow, reason } from "./stream.js";
import { TokenForm } from "./token.js";

const $ = (id) => document.getElementById(id);
const model = new Model();
let chosen = null;

const picture = new Picture($("canvas"), (id) => choose(id));
const list = new List($("list"), $("filter"), (id) => choose(id, true));
const details = new Details($("details"), { putUp, takeDown, close: () => {
  const row = document.querySelector(`#list [aria-pressed="true"]`);
  choose(null);
  row?.focus();
} });

function choose(id, focus = false) {
  chosen = id;
  draw();
  details.show(model, chosen, focus);
  if (id) $("details").scrollIntoView({ block: "nearest" });
}

function draw() {
  if (!model.totals) return;
  picture.show(model, chosen);
  list.show(model, chosen);
  details.show(model, chosen);
  $("empty").hidden = model.nodes.size > 0;
  const { totals } = model;
  const lost = Object.values(totals.dropped).reduce((a, b) => a + b, 0);
  const facts = [["nodes", count(totals.present)], ["links", count(model.links.size)], ["events", rate(totals.rate)],
                 ["dropped", count(lost)], [totals.crashes === 1 ? "crash" : "crashes", count(totals.crashes)]];
  facts.forEach(([name, value], i) => {
    const pair = $("totals").children[i] ?? $("totals").appendChild(element("div"));
    if (!pair.firstChild) pair.append(element("dt", "", name), element("dd"));
    if (pair.firstChild.textContent !== name) pair.firstChild.textContent = name;
    if (pair.lastChild.textContent !== value) pair.lastChild.textContent = value;
    pair.dataset.bad = String((name === "dropped" || name.startsWith("crash")) && value !== "0");
  });
}

// Crashes

let told = null; // time of the latest crash that was shown

function showCrashes(crashes) {
  model.setCrashes(crashes);
  const latest = crashes.at(-1);
  if (told !== null && latest && latest.time > told) say(`${latest.name} in ${latest.scope} crashed: ${latest.error}`);
  told = latest?.time ?? 0;
  $("crashes").hidden = !crashes.length;
  const open = new Set([...document.querySelectorAll("#crash-list details[open]")].map((d) => d.dataset.time));
  $("crash-list").replaceChildren(...[...crashes].reverse().map((crash) => {
    const view = crashView(crash, open.has(String(crash.time)));
    view.dataset.time = crash.time;
    return view;
  }));
}

// Links

const end = (id) => { const [scope, name] = JSON.parse(id); return { scope, name }; };
const named = (id) => end(id).name;

async function putUp(from, to) {
  const body = JSON.stringify({ sender: end(from), receiver: end(to) });
  await change(`Link from ${named(from)} to ${named(to)} is up.`,
               () => ask("/links", { method: "POST", body, headers: { "content-type": "application/json" } }));
}

async function takeDown({ from, to }) {
  const [a, b] = [end(from), end(to)];
  const query = new URLSearchParams({ sender_scope: a.scope, sender_name: a.name, receiver_scope: b.scope, receiver_name: b.name });
  await change(`Link from ${a.name} to ${b.name} is down.`, () => ask(`/links?${query}`, { method: "DELETE" }), () => putUp(from, to));
}

async function change(done, request, undo = null) {
  try {
    const response = await request();
    if (response.ok) say(done, undo);
    else say(await reason(response), null, true);
  } catch (error) {
    say(`The server cannot be reached: ${error.message}`, null, true);
  }
}

let hiding = 0;

function say(text, undo = null, bad = false) {
  const toast = $("toast");
  toast.replaceChildren(element("span", "", text));
  toast.dataset.bad = String(bad);
  if (undo) {
    const button = element("button", "", "Undo");
    button.addEventListener("click", undo);
    toast.append(button);
  }
  clearTimeout(hiding);
  hiding = setTimeout(() => toast.replaceChildren(), 8000);
}

// The rest of the page

$("smaller").addEventListener("click", () => picture.zoom(1 / 1.3));
$("larger").addEventListener("click", () => picture.zoom(1.3));
$("fit").addEventListener("click", () => picture.zoom(0));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, select")) { event.preventDefault(); $("filter").focus(); }
});

const token = new TokenForm($("token"));

follow("/graph/events", (name, id, data) => {
  if (name === "crashes") showCrashes(data);
  if (name === "graph") { model.setGraph(data, id); draw(); }
}, (state, detail) => {
  const words = { live: "live", lost: "connection lost, trying again", locked: "locked" };
  $("connection").dataset.state = state;
  $("connection").textContent = words[state];
  $("connection").title = typeof detail === "string" ? detail : "";
  document.body.classList.toggle("stale", state !== "live");
  if (state === "locked") token.want(detail);
  else token.hide();
});
