// How loud the own microphone is: 0 to 1, of -70 to -10 dB full scale, twenty times a second.

const INTERVAL = 50; // ms
const SILENCE = -70, LOUD = -10; // dB full scale

/** dB of full scale, as a part of the meter. */
export const part = (decibels) => Math.min(1, Math.max(0, (decibels - SILENCE) / (LOUD - SILENCE)));

export class Meter {
  #context = null; #source = null; #analyser = null; #samples = null; #timer = 0;

  /** show(part) is called with each measurement, and with 0 at the end. */
  constructor(show) {
    this.show = show;
    // Browsers let sound begin only after a person has done something.
    for (const name of ["pointerdown", "keydown"]) addEventListener(name, () => this.#context?.resume().catch(() => {}));
  }

  /** Measure this track from now on; null: none. */
  listen(track) {
    this.#source?.disconnect();
    this.#source = null;
    clearInterval(this.#timer);
    this.show(0);
    if (!track) return;
    this.#context ??= new AudioContext();
    if (!this.#analyser) {
      this.#analyser = new AnalyserNode(this.#context, { fftSize: 2048 });
      this.#samples = new Float32Array(this.#analyser.fftSize);
    }
    this.#context.resume().catch(() => {});
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    this.#timer = setInterval(() => this.#measure(), INTERVAL);
  }

  #measure() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    this.show(power ? part(10 * Math.log10(power)) : 0);
  }
}
