// The person's own microphone and camera: opened as chosen, closed when not wanted, refusals in words.

const SIZE = { width: { ideal: 960 }, height: { ideal: 540 }, frameRate: { ideal: 25, max: 30 } };
export const canCapture = Boolean(navigator.mediaDevices?.getUserMedia);
export const INSECURE = "Browsers give microphones and cameras only to pages on https or on 127.0.0.1. You can listen, or open this page by such an address.";
const KINDS = { microphone: "audio", camera: "video" };

export class Capture {
  microphone = null; camera = null;
  #opened = {}; #muted = false; #turn = Promise.resolve();

  /** ended(name) is called when a device goes away by itself. */
  constructor(ended) {
    this.ended = ended;
  }

  get muted() { return this.#muted; }

  set muted(muted) {
    this.#muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
  }

  /**
   * Make it so: {microphone, camera: device id, "default" or "" for none, speech: process it or not}.
   * What is open already as wanted stays open. Returns a sentence for each that could not be opened, by name.
   */
  open(choice) {
    return (this.#turn = this.#turn.then(() => this.#open(choice)));
  }

  close() {
    for (const name of Object.keys(KINDS)) this.#drop(name);
  }

  async #open(choice) {
    const wanted = {};
    for (const name of Object.keys(KINDS)) {
      const key = choice[name] && JSON.stringify([choice[name], name === "microphone" && choice.speech]);
      if (this[name] && this.#opened[name] === key) continue;
      this.#drop(name); // first: a device may be one program's, or one setting's, at a time
      if (key) wanted[name] = key;
    }
    const names = Object.keys(wanted), failed = {};
    if (!names.length) return failed;
    if (!canCapture) return Object.fromEntries(names.map((name) => [name, INSECURE]));
    const errors = await this.#ask(names, choice, wanted);
    for (const [name, error] of Object.entries(errors)) failed[name] = inWords(error, name);
    return failed;
  }

  /** Both in one question to the person; one by one only where that brings no second question. */
  async #ask(names, choice, wanted) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints(names, choice));
      for (const track of stream.getTracks()) this.#take(track.kind === "audio" ? "microphone" : "camera", track, wanted);
      return {};
    } catch (error) {
      if (names.length === 1) return { [names[0]]: error };
      const errors = {};
      for (const name of names) {
        if (error.name === "NotAllowedError" && !(await isGranted(name))) errors[name] = error;
        else Object.assign(errors, await this.#ask([name], choice, wanted));
      }
      return errors;
    }
  }

  #take(name, track, wanted) {
    this[name] = track;
    this.#opened[name] = wanted[name];
    if (name === "microphone") track.enabled = !this.#muted;
    track.onended = () => { this.#drop(name); this.ended(name); };
  }

  #drop(name) {
    const track = this[name];
    this[name] = null;
    if (!track) return;
    track.onended = null;
    track.stop();
  }
}

function constraints(names, { microphone, camera, speech }) {
  const which = (id) => (id === "default" ? {} : { deviceId: { exact: id } });
  const asked = {};
  if (names.includes("microphone")) asked.audio = { ...which(microphone), echoCancellation: speech, noiseSuppression: speech, autoGainControl: speech };
  if (names.includes("camera")) asked.video = { ...which(camera), ...SIZE };
  return asked;
}

/** Whether the browser has this permission already; browsers that do not tell have not. */
export async function isGranted(name) {
  try {
    return (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false;
  }
}

function inWords(error, name) {
  const words = {
    NotAllowedError: `The browser does not allow the ${name}. Allow it beside the page's address and choose it again, or go on without.`,
    NotFoundError: `No ${name} was found. Plug one in, or go on without.`,
    OverconstrainedError: `That ${name} is not there any more. Choose another, or go on without.`,
    NotReadableError: `The ${name} cannot be opened. Another program may be using it: close that, then choose it again.`,
  };
  return words[error.name] ?? `The ${name} cannot be opened: ${error.message || error.name}. Choose another, or go on without.`;
}
