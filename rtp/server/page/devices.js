// Which microphone, camera and speaker: the selects, filled as devices come and go, and remembered.

const MEMORY = "room";
const KINDS = { microphone: "audioinput", camera: "videoinput", speaker: "audiooutput" };
const NONE = { microphone: "No microphone, only listen", camera: "No camera" };
const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;

export class Devices {
  #memory = recall();

  /** fields: the elements microphone, camera, speaker, speech. changed(choice) when a person chooses. */
  constructor(fields, changed) {
    this.fields = fields;
    fields.speech.checked = this.#memory.speech ?? true;
    for (const [name, field] of Object.entries(fields)) {
      field.addEventListener("change", () => {
        this.#memory[name] = name === "speech" ? field.checked : field.value;
        this.remember({});
        changed(name);
      });
    }
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.refresh());
  }

  get choice() {
    const { microphone, camera, speaker, speech } = this.fields;
    return { microphone: microphone.value, camera: camera.value, speaker: speaker.value, speech: speech.checked };
  }

  /** Not wanted, or not to be had, until a person chooses again; the memory stays. */
  without(name) {
    this.fields[name].value = "";
  }

  /** As it was before `without`. */
  again(name) {
    this.fields[name].value = this.#memory[name] || "default";
    if (this.fields[name].selectedIndex < 0) this.fields[name].selectedIndex = 0;
  }

  /** The name that was used the last time. */
  get name() { return this.#memory.name ?? ""; }

  remember(more) {
    Object.assign(this.#memory, more);
    try {
      localStorage.setItem(MEMORY, JSON.stringify(this.#memory));
    } catch { /* storage may be switched off: then it is forgotten */ }
  }

  /** Read the devices again; labels come only once the browser has given permission. */
  async refresh() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    for (const name of Object.keys(KINDS)) this.#fill(name, all.filter((device) => device.kind === KINDS[name]));
  }

  #fill(name, found) {
    const select = this.fields[name], first = !select.options.length;
    const options = found.filter((device) => device.deviceId && device.deviceId !== "default")
      .map((device, i) => new Option(device.label || `${title(name)} ${i + 1}`, device.deviceId));
    if (found.length || name === "speaker") options.unshift(new Option(`Default ${name}`, "default"));
    if (name in NONE) options.push(new Option(found.length ? NONE[name] : `No ${name} found`, ""));
    const wanted = first ? this.#memory[name] ?? "default" : select.value;
    const values = options.map((option) => option.value);
    select.replaceChildren(...options);
    select.value = values.includes(wanted) ? wanted : values[0];
    if (name === "speaker") select.closest("label").hidden = !canChooseSpeaker || found.length < 2;
  }
}

const title = (name) => name[0].toUpperCase() + name.slice(1);

function recall() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}
