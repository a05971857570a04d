// A person's way through the page: choose in the lobby, join, be on the stage, leave.

import { names } from "./announce.js";
import { Call } from "./call.js";
import { canCapture, Capture, INSECURE, isGranted } from "./capture.js";
import { showControls } from "./controls.js";
import { Devices } from "./devices.js";
import { Meter } from "./meter.js";
import { Own } from "./own.js";
import { Presence } from "./presence.js";
import { Sound } from "./sound.js";
import { Stage } from "./stage.js";
import { ask } from "./stream.js";
import { TokenForm } from "./token.js";
import { company, refusal, status } from "./words.js";

const MISSING = 2000; // ms that the server's list may be without us
const $ = (id) => document.getElementById(id);
const devices = new Devices({ microphone: $("microphone"), camera: $("camera"), speaker: $("speaker"), speech: $("speech") }, choose);
const capture = new Capture(lostDevice);
const own = new Own($("mirror"), $("level"));
const meter = new Meter((part) => own.level(capture.muted ? 0 : part));
const scene = new Stage($("stage"), own, { list: $("tiles"), title: $("stage-title"), quality: $("quality"), announce: $("announce") });
const token = new TokenForm($("token"));
const sound = new Sound($("mix"), { refused: (refused) => { $("hear").hidden = !refused; }, failed: problem });
const presence = new Presence({ changed: () => { tell(); draw(); }, locked: (unlock) => token.want(unlock), unlocked: () => token.hide() });

let stage = "lobby"; // then joining, joined, lost
let room = new URLSearchParams(location.search).get("room") ?? "";
let call = null;
let listed = false; // whether the server's list has had us since we joined
let missing = 0; // a timer, while it has not
let asked = false; // whether a person has let the browser ask for devices

function show(next) {
  stage = document.body.dataset.state = next;
  const inRoom = next === "joined" || next === "lost" || (next === "joining" && !$("stage").hidden);
  $("lobby").hidden = inRoom;
  $("lost").hidden = next !== "lost";
  showControls(next, capture, devices.choice, asked);
  for (const way of document.querySelectorAll("nav a[id]")) way.target = inRoom ? "_blank" : ""; // it must not end the call
  own.show(capture);
  tell();
  draw();
}

function tell() {
  const [kind, words] = status(stage === "lobby" ? "" : stage === "joined" ? call?.state : stage === "lost" ? "lost" : "connecting", presence.server);
  $("connection").dataset.state = kind;
  if ($("connection").textContent !== words) $("connection").textContent = words;
}

function draw() {
  if (stage === "joined" && call.state === "interrupted" && presence.server === "lost") return lose("The server is gone, or your network has changed. Rejoin when it is back.");
  const others = presence.parties.filter((party) => party.id !== call?.party);
  const who = presence.server === "live" ? company(names(others.map((party) => party.id)), others.length) : "";
  if (stage === "lobby" && $("who").textContent !== who) $("who").textContent = who;
  if (stage !== "joined") return;
  const self = presence.parties.find((party) => party.id === call.party);
  if (self) { listed = true; clearTimeout(missing); missing = 0; }
  else if (listed) missing ||= setTimeout(lose, MISSING, "The server has ended your place in the room.");
  scene.update(self, others);
}

function problem(text) {
  for (const place of document.querySelectorAll(".problem")) place.textContent = text;
}

// Devices

async function prepare() {
  asked = true;
  const failed = await capture.open(devices.choice);
  await devices.refresh();
  for (const name of Object.keys(failed)) devices.without(name);
  problem([...new Set(Object.values(failed))].join(" "));
  meter.listen(capture.microphone);
}

async function choose(name) {
  if (name === "speaker") return sound.through(devices.choice.speaker);
  if (!asked && !(await isGranted(name === "camera" ? "camera" : "microphone"))) return show(stage);
  await prepare();
  if (stage === "joined" && !(await call.send(capture))) await join(); // what was not offered before is offered anew
  else show(stage);
}

function lostDevice(name) {
  devices.without(name);
  problem(`The ${name} is gone. Choose another one, or go on without.`);
  if (stage === "joined" && !$("settings").open) openSettings();
  meter.listen(capture.microphone);
  call?.send(capture);
  show(stage);
}

async function begin() {
  await devices.refresh();
  if ((await isGranted("microphone")) && (await isGranted("camera"))) await prepare();
  if (!canCapture) problem(INSECURE);
  if (stage === "lobby") show("lobby"); // who was quick is on the way in
}

// In and out

async function join() {
  const before = call;
  show("joining");
  await ready;
  stop();
  await before?.close(); // first, so that the name is free again
  await prepare();
  if (stage !== "joining") return; // left meanwhile
  const name = $("name").value.trim();
  devices.remember({ name });
  const mine = (call = new Call(room, name, capture, {
    tell: (state, why) => { if (call === mine) state === "lost" ? lose(why) : show(stage); },
    hear: (stream) => { sound.through(devices.choice.speaker); sound.hear(stream); },
  }));
  try {
    await mine.open();
    await mine.send(capture); // if that has changed meanwhile
  } catch (error) {
    if (call === mine) refuse(error);
    return;
  }
  listed = false;
  scene.begin(room, mine.party ?? name, mine.connection.peer);
  show("joined");
}

function refuse(error) {
  if (error.status === 401) presence.follow(room); // asks for the token
  if ($("stage").hidden) {
    call = null;
    problem(refusal(error));
    show("lobby");
  } else lose(refusal(error));
}

function lose(why) {
  stop();
  $("settings").close();
  $("lost-why").textContent = why;
  show("lost");
  $("rejoin").focus();
}

function leave() {
  stop();
  call = null;
  capture.muted = false;
  scene.end();
  sound.stop();
  problem("");
  show("lobby");
  $("join").focus();
}

function stop() {
  clearTimeout(missing);
  missing = 0;
  scene.pause();
  call?.close();
}

// What a person does

function openSettings() {
  $("settings").querySelector(".place").append($("devices"));
  $("settings").showModal();
}

async function switchCamera() {
  if (capture.camera) devices.without("camera");
  else devices.again("camera");
  await choose("camera");
  if (document.querySelector(".problem").textContent && !$("settings").open) openSettings();
}

$("lobby").addEventListener("submit", (event) => { event.preventDefault(); if (stage === "lobby") join(); });
$("preview").addEventListener("click", async () => { await prepare(); show(stage); });
$("name").addEventListener("input", () => own.tile.rename($("name").value.trim()));
$("room").addEventListener("change", () => {
  if (!$("room").validity.valid) return;
  room = $("room").value;
  history.replaceState(null, "", `?room=${room}`);
  presence.follow(room);
});
$("mute").addEventListener("click", () => {
  if (!capture.microphone) return openSettings();
  capture.muted = !capture.muted;
  show(stage);
});
$("camera-switch").addEventListener("click", switchCamera);
$("change").addEventListener("click", openSettings);
$("settings").addEventListener("close", () => { $("devices-home").append($("devices")); problem(""); });
$("hear").addEventListener("click", () => sound.again());
$("rejoin").addEventListener("click", join);
for (const id of ["leave", "give-up"]) $(id).addEventListener("click", leave);
addEventListener("pagehide", () => { if (call) stop(); });
addEventListener("pageshow", (event) => { if (event.persisted && call) lose("You were away from the page."); });
$("room").addEventListener("focus", async () => {
  const response = await ask("/rooms").catch(() => null);
  if (response?.ok) $("rooms").replaceChildren(...(await response.json()).map((one) => new Option(one.room, one.room)));
});

if (!/^[\w.-]{1,64}$/.test(room)) room = "lobby";
$("room").value = room;
$("name").value = devices.name;
own.tile.rename(devices.name);
if (!$("name").value) $("name").focus();
presence.follow(room);
const ready = begin();
